// Package control opens single defences, in programs built with the tag
// deep_control, so that a test can show that a defence is what stops an attack:
// the attack must succeed without it. In every other program all are closed, and
// the question costs nothing.
package control

// Env names the defences to open, separated by commas, in a program that was built
// for it.
const Env = "DEEP_CONTROL"
