// Package meshtest runs meshes inside one test: a network in memory that can
// lose, delay, repeat and cut, meant for the clock of a testing/synctest bubble.
//
// What bites in a bubble:
//
//   - fasthttp starts a goroutine that never ends at its first response with a
//     date: call new(fasthttp.ResponseHeader).Header() in TestMain, outside
//     every bubble.
//   - fasthttp pools timers for the whole process, so a client with
//     MaxConnWaitTimeout works in one bubble only.
//   - a goroutine that waits for a sync.Mutex is not idle to a bubble: who holds
//     one across a sleep, a dial or a write to a stream freezes the clock.
//   - memberlist's own MockTransport blocks for ever when a peer has shut down;
//     this network drops.
package meshtest
