// Meshgw is a gateway mesh without a centre: this program runs a node of it,
// and asks and commands nodes over their admin API.
package main
