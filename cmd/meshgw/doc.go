// Meshgw is a decentralized API gateway: this program runs a node, and queries and
// changes nodes over their admin API.
package main
