package main

func processAttacks() []attack  { return nil }
func leakAttacks() []attack     { return nil }
func resourceAttacks() []attack { return nil }

const secret = "sec"
