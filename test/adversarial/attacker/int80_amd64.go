package main

// int80 makes a call of a 32-bit program without arguments.
func int80(call int) int
