"""Services that are not: real servers on a port of this machine, with the wire shape of the true ones."""
