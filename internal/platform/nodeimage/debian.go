package nodeimage

// Suite is the Debian release of the node, and of whatever else of sickbay's is made of Debian packages.
const Suite = suite

// DebianSources answers this machine's own package sources of the suite, as deb822 stanzas, since only those may be reachable
// from it (a mirror, a snapshot). They are empty where it has none, as on Ubuntu.
func DebianSources() (string, error) { return debianSources("/etc/apt") }
