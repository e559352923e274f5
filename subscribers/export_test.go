package subscribers

// What the JSON Schema has in common with the checks.
const (
	PlaceForm    = placeForm
	ServiceForm  = serviceForm
	FunctionForm = functionForm
	MaxOwner     = maxOwner
	MaxName      = maxName
)

// The judges of these forms.
var (
	IsService  = isService
	IsFunction = isFunction
)
