// Package backendtest holds the rules every backend keeps, and an in-memory
// backend that keeps them.
//
// A backend's conformance test is a factory and one line:
//
//	func TestContract(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) (backend.Backend, backendtest.Opts) {
//			return newBackend(t), backendtest.Opts{Shell: true}
//		})
//	}
//
// [Test] does the same without a *testing.T and returns every finding; [Check]
// reports on each rule as it is known, for a command line.
package backendtest
