package main

func fileAttacks() []attack { return nil }
