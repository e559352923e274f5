package secretstest

// Deviation is a reason why an endpoint is not asked for some cases: what it
// does otherwise than AWS documents.
type Deviation string

// What ministack 1.5.33 does otherwise.
const (
	IgnoresTokens         Deviation = "it does not make the ClientRequestToken of CreateSecret and UpdateSecret the version id"
	CreatesOnce           Deviation = "it refuses a CreateSecret that is repeated with the same token and value"
	OverwritesVersions    Deviation = "it makes the version anew when PutSecretValue comes again with its token"
	IgnoresStageOfVersion Deviation = "it ignores VersionStage in GetSecretValue if VersionId is there"
	DropsDeprecated       Deviation = "it forgets a version as soon as it has no label"
	AcceptsAnyName        Deviation = "it does not check names"
	AcceptsAnyValue       Deviation = "it does not check the size of values or that there is one"
	CreatesEmptyVersion   Deviation = "it gives a secret without a value a version without a value"
	DoublesCustomLabels   Deviation = "it leaves a custom label on the old version when PutSecretValue puts it on a new one"
	RoundsDates           Deviation = "its dates are whole seconds, and deletion and restore do not move LastChangedDate"
	MatchesARNPrefixes    Deviation = "it takes any beginning of a full ARN for that ARN"
	FiltersBySubstring    Deviation = "its name filter finds values anywhere in a name and ignores case"
	ReportsDeletedAsTaken Deviation = "it answers ResourceExistsException for a name that is scheduled for deletion"
	NeedsSecretToForce    Deviation = "it refuses to delete by force what is not there"
	AcceptsCurrentRemoval Deviation = "it lets AWSCURRENT be taken off"
)
