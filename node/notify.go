package node

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// notify tells systemd, where a unit of the type notify has started this process,
// of its state: READY=1 or STOPPING=1 (see sd_notify(3)).
func notify(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket) // an @ in front is an abstract name, for Go too
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
