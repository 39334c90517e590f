#include "textflag.h"

// func int80(call int) int
TEXT ·int80(SB), NOSPLIT, $0-16
	MOVQ call+0(FP), AX
	XORQ BX, BX
	INT  $0x80
	MOVQ AX, ret+8(FP)
	RET
