// Command pack puts what is deployed into one zip, and what that is made of into a bill of materials. The same input gives the
// same bytes: no time, no path and no user of the machine is in them.
package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	as := flag.String("as", "bootstrap", "where the binary stands in the zip; Lambda starts an extension from extensions/")
	name := flag.String("name", "broadcaster", "what to call the zip and its bill of materials")
	manifests := flag.String("subscriptions", "infra/subscriptions", "the folder of manifests, {env}/{domain}.yaml; empty for a function that needs none")
	dist := flag.String("dist", "dist", "the folder to write {name}.zip and {name}.cdx.json to")
	flag.Parse()
	if err := run(os.Stdout, *bootstrap, *as, *manifests, filepath.Join(*dist, *name)); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// run writes the zip and the bill of materials, whose paths are to without their endings.
func run(out io.Writer, bootstrap, as, manifests, to string) error {
	program, err := os.ReadFile(bootstrap) //nolint:gosec // the path is the point
	if err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	var folder fs.FS
	if manifests != "" {
		folder = os.DirFS(manifests)
	}
	var packed bytes.Buffer
	count, err := pack(&packed, as, program, folder)
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
	for file, content := range map[string][]byte{to + ".zip": packed.Bytes(), to + ".cdx.json": append(bill, '\n')} {
		if err := os.WriteFile(file, content, 0o644); err != nil { //nolint:gosec // for everybody to read
			return fmt.Errorf("writing %s: %w", file, err)
		}
	}
	fmt.Fprintf(out, "%s.zip: %d bytes, %d manifests, sha256 %x\n", to, packed.Len(), count, digest)
	fmt.Fprintf(out, "%s.cdx.json: %d modules\n", to, len(info.Deps))
	return nil
}

// An archive is a zip without times.
type archive struct{ zip *zip.Writer }

func (a archive) add(name string, mode fs.FileMode, content []byte) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)} // the first that a zip can say
	header.SetMode(mode)
	file, err := a.zip.CreateHeader(header)
	if err == nil {
		_, err = file.Write(content)
	}
	if err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	return nil
}

// pack writes the binary, and every manifest unless manifests is nil.
func pack(to io.Writer, as string, program []byte, manifests fs.FS) (count int, err error) {
	a := archive{zip.NewWriter(to)}
	if err := a.add(as, 0o755, program); err != nil {
		return 0, err
	}
	if manifests != nil {
		if count, err = a.addManifests(manifests); err != nil {
			return 0, err
		}
	}
	if err := a.zip.Close(); err != nil {
		return 0, fmt.Errorf("packing: %w", err)
	}
	return count, nil
}

// addManifests adds every manifest, which has to be valid: a function does not start with one that is not.
func (a archive) addManifests(manifests fs.FS) (count int, err error) {
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
		return a.add("subscriptions/"+path, 0o644, content)
	})
	if err == nil && count == 0 {
		err = errors.New("there is no manifest, and so no domain to deploy")
	}
	return count, err
}
