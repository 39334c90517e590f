//go:build !amd64

package main

// int80 is not there: other machines have another way to 32-bit calls, or none.
func int80(int) int { return -1 }
