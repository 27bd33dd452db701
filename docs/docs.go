// Package docs embeds the documentation that the command line shows as well: one page a failure, and the guide. A finding's
// text shows a page's first command, and Search leads from what somebody sees to the page.
//
// It knows nothing of the rest of the project; a test holds that every failure and cause has its page and section.
package docs

import "embed"

// Failures are the pages of docs/failures, one <failure>.md each.
//
//go:embed failures/*.md
var Failures embed.FS

//go:embed guide.md
var guide string
