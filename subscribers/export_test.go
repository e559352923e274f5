package subscribers

// What the JSON Schema has in common with the checks.
const (
	PlaceForm    = placeForm
	ServiceForm  = serviceForm
	FunctionForm = functionForm
	MaxOwner     = maxOwner
	MaxName      = maxName
)

// IsService judges ServiceForm.
func IsService(text string) bool { return isService(text) }

// IsFunction judges FunctionForm.
func IsFunction(text string) bool { return isFunction(text) }
