// Command attacker attacks from inside of a sandbox. Each attack prints what it
// got, a line each that begins with "got ", and nothing of the kind if it got
// nothing.
//
//	attacker TAG ATTACK ARGUMENTS…
//
// The tag is not looked at: it is there to be found, in the arguments of this
// process and of all it starts.
package main

import (
	"fmt"
	"os"
	"strings"
)

// attacks by name. Each file adds its own.
var attacks = map[string]func(args []string){}

// add is called by the files' own variables, before main.
func add(more map[string]func(args []string)) struct{} {
	for name, attack := range more {
		if attacks[name] != nil {
			panic("two attacks have the name " + name)
		}
		attacks[name] = attack
	}
	return struct{}{}
}

// tag of this run.
var tag string

func main() {
	if len(os.Args) < 3 || attacks[os.Args[2]] == nil {
		broken("there is no such attack: %q", os.Args)
	}
	tag = os.Args[1]
	attacks[os.Args[2]](os.Args[3:])
}

var _ = add(map[string]func([]string){
	"echo": func(args []string) { fmt.Println(strings.Join(args, " ")) },
	"none": func([]string) {},
})

func got(format string, args ...any) { fmt.Printf("got "+format+"\n", args...) }

// broken says that the attack could not be made at all.
func broken(format string, args ...any) {
	fmt.Printf("broken "+format+"\n", args...)
	os.Exit(1)
}

// try does what makes the attack possible, and must work.
func try(err error) {
	if err != nil {
		broken("%v", err)
	}
}

// self is the command line that runs another attack of this program.
func self(name string, args ...string) []string {
	return append([]string{"/proc/self/exe", tag, name}, args...)
}
