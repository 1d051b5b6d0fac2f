// Package gossip joins a node to the mesh and replicates state among the nodes. It
// embeds Serf by its agent package, so that the stock serf CLI works, and carries
// any number of States over Serf's pool and port: small changes are pushed at once
// to some peers, which pass them on at first receipt; digests are compared
// periodically to repair what was lost; what does not fit a packet is fetched over
// an encrypted stream.
//
// It replicates keys and bytes without knowing what they mean.
package gossip
