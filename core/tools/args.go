package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// decode reads a call's arguments into a struct; what does not fit is answered,
// so that the model can call again.
func decode(args json.RawMessage, into any, usage string) (Answer, bool) {
	if len(bytes.TrimSpace(args)) == 0 {
		args = json.RawMessage("{}") // some models leave out an empty object
	}
	dec := json.NewDecoder(bytes.NewReader(args))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); errors.Is(more, io.EOF) {
			return Answer{}, true
		}
		err = errors.New("there is something after the object")
	}
	return failed("The arguments cannot be used: %s. Usage: %s", misfit(err), usage), false
}

// misfit says in the model's terms, not in Go's, what is wrong with arguments.
func misfit(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return "they must be a JSON object, not " + wrong.Value
	case errors.As(err, &wrong):
		return fmt.Sprintf("%s must be %s, not %s", wrong.Field, kindNames[wrong.Type.Kind()], wrong.Value)
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("they are not whole JSON (%v)", err)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

var kindNames = map[reflect.Kind]string{
	reflect.String: "a string",
	reflect.Int64:  "a whole number",
	reflect.Bool:   "true or false",
	reflect.Slice:  "an array",
	reflect.Struct: "an object",
}
