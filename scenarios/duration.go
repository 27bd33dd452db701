package scenarios

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/invopop/jsonschema"
)

// maxDuration bounds every step: the longest fixed timer of the field is PLEG's three minutes plus a five-minute eviction
// transition, so an hour is already a mistake in the file.
const maxDuration = time.Hour

// Std is the duration as package time has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as Kubernetes does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "90s"; a bare number is an error because it does not say its unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it like 90s, 5m or 1h30m", b)
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the duration from a string.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is no duration: write it as a string like \"90s\"", b)
	}
	return d.UnmarshalText([]byte(s))
}

// JSONSchema describes the duration to editors.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type:        "string",
		Pattern:     `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`,
		Description: "a duration such as 90s, 5m or 1h30m, above zero and at most one hour",
	}
}
