// Command pack puts what is deployed into a zip, and what that is made of into a bill of materials: the function with its
// manifests, or the extension as a layer. The same input gives the same bytes: no time, no path and no user of the machine
// is in them.
package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers"
)

func main() {
	bootstrap := flag.String("bootstrap", "dist/bootstrap", "the function's binary")
	manifests := flag.String("subscriptions", "infra/subscriptions", "the folder of manifests, {env}/{domain}.yaml")
	extension := flag.String("extension", "", "the extension's binary, to pack that as a layer instead")
	name := flag.String("name", "broadcaster", "what the zip and the bill of materials are called")
	dist := flag.String("dist", "dist", "the folder to write them to")
	flag.Parse()
	err := error(nil)
	if *extension != "" {
		err = run(os.Stdout, *extension, *dist, *name, packLayer)
	} else {
		err = run(os.Stdout, *bootstrap, *dist, *name, func(to io.Writer, program []byte) (string, error) {
			return packFunction(to, program, os.DirFS(*manifests))
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// run packs a binary. pack says what is in the zip beside it.
func run(out io.Writer, binary, dist, name string, pack func(to io.Writer, program []byte) (beside string, err error)) error {
	program, err := os.ReadFile(binary) //nolint:gosec // the path is the point
	if err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	var packed bytes.Buffer
	beside, err := pack(&packed, program)
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("reading what the binary is made of: %w", err)
	}
	digest := sha256.Sum256(packed.Bytes())
	bill, err := json.MarshalIndent(billOf(info, hex.EncodeToString(digest[:])), "", "  ")
	if err != nil {
		return fmt.Errorf("writing the bill of materials: %w", err)
	}
	for name, content := range map[string][]byte{name + ".zip": packed.Bytes(), name + ".cdx.json": append(bill, '\n')} {
		if err := os.WriteFile(filepath.Join(dist, name), content, 0o644); err != nil { //nolint:gosec // for everybody to read
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	fmt.Fprintf(out, "%s: %d bytes%s, sha256 %x\n", filepath.Join(dist, name+".zip"), packed.Len(), beside, digest)
	fmt.Fprintf(out, "%s: %d modules\n", filepath.Join(dist, name+".cdx.json"), len(info.Deps))
	return nil
}

// add packs one file.
func add(to *zip.Writer, name string, mode fs.FileMode, content []byte) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)} // the first that a zip can say
	header.SetMode(mode)
	file, err := to.CreateHeader(header)
	if err == nil {
		_, err = file.Write(content)
	}
	if err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	return nil
}

// packLayer writes the extension where Lambda starts it from
// (https://docs.aws.amazon.com/lambda/latest/dg/extensions-configuration.html).
func packLayer(to io.Writer, program []byte) (beside string, err error) {
	archive := zip.NewWriter(to)
	if err := add(archive, "extensions/secret-broadcaster", 0o755, program); err != nil {
		return "", err
	}
	if err := archive.Close(); err != nil {
		return "", fmt.Errorf("packing: %w", err)
	}
	return "", nil
}

// packFunction writes the binary and every manifest, which has to be valid: a function does not start with one that is not.
func packFunction(to io.Writer, program []byte, manifests fs.FS) (beside string, err error) {
	archive := zip.NewWriter(to)
	if err := add(archive, "bootstrap", 0o755, program); err != nil {
		return "", err
	}
	count := 0
	err = fs.WalkDir(manifests, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".md" {
			return err
		}
		env, file, _ := strings.Cut(path, "/")
		domain, isYAML := strings.CutSuffix(file, ".yaml")
		if !isYAML || strings.Contains(domain, "/") {
			return fmt.Errorf("%s is no manifest: it must be {env}/{domain}.yaml", path)
		}
		if _, err := subscribers.Load(manifests, path, env, domain); err != nil {
			return fmt.Errorf("a manifest is refused: %w", err)
		}
		content, err := fs.ReadFile(manifests, path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		count++
		return add(archive, "subscriptions/"+path, 0o644, content)
	})
	switch {
	case err != nil:
		return "", err
	case count == 0:
		return "", fmt.Errorf("there is no manifest, and so no domain to deploy")
	}
	if err := archive.Close(); err != nil {
		return "", fmt.Errorf("packing: %w", err)
	}
	return fmt.Sprintf(", %d manifests", count), nil
}
