package backend

// Schema lists the options a backend takes. It is small on purpose: what a
// block `config { }` may hold, flat, without the need to know HCL.
type Schema []Attribute

// Attribute is one option.
type Attribute struct {
	// Name as written in the configuration.
	Name string
	Type AttributeType
	// Required options must be given.
	Required bool
	// Default in the words of the configuration, for people; "" if none.
	Default string
	// Description in one sentence.
	Description string
	// Sensitive values are never printed.
	Sensitive bool
}

// AttributeType is the type of an option.
type AttributeType string

// Attribute types. In the JSON of ConfigureRequest they are string, number,
// boolean, array of strings and object of strings.
const (
	TypeString     AttributeType = "string"
	TypeNumber     AttributeType = "number"
	TypeBool       AttributeType = "bool"
	TypeStringList AttributeType = "list(string)"
	TypeStringMap  AttributeType = "map(string)"
)
