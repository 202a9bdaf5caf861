package main

import "sync/atomic"

// calls are those under way, of all connections. A call takes some KiB before anything of its
// message has come, and one connection can open any number.
type calls struct {
	most int64
	open atomic.Int64
}

// begin says whether there may be one more.
func (c *calls) begin() bool {
	if open := c.open.Add(1); open > c.most && c.most > 0 {
		c.open.Add(-1)
		return false
	}
	return true
}

func (c *calls) end() { c.open.Add(-1) }
