//go:build race

package e2e

// raced says that the processes under test are built with the race detector, as
// this test is: they are slower and hold more memory, and a race they report
// fails the test.
const raced = true
