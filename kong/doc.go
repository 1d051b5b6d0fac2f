// Package kong reads Kong's declarative files, as Kong's DB-less mode and deck
// write them, into what meshgw's route files say.
//
// It is pure and says what it could not translate. Where that decides who is let
// in, the routes concerned answer 503: none is open that was guarded before.
package kong
