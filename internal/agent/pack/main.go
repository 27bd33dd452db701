// pack compresses standard input to standard output, for the agents that are embedded in sickbay.
package main

import (
	"io"
	"log"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	w, err := zstd.NewWriter(os.Stdout, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err == nil {
		_, err = io.Copy(w, os.Stdin)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		log.Fatal("pack: ", err)
	}
}
