// pack compresses standard input, or with arguments an archive of those files and folders, to standard output: what is embedded in
// sickbay.
package main

import (
	"io"
	"log"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/sickbay-dev/sickbay/internal/pack"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal("pack: ", err)
	}
}

func run(names []string) error {
	if len(names) > 0 {
		return pack.Files(os.Stdout, ".", names...)
	}
	w, err := zstd.NewWriter(os.Stdout, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err == nil {
		_, err = io.Copy(w, os.Stdin)
	}
	if err == nil {
		err = w.Close()
	}
	return err
}
