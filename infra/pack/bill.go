package main

import (
	"net/url"
	"runtime/debug"
	"strings"
)

// A bill of materials, CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/): what the Go tool recorded in the binary itself, so it
// is of this binary and of no other. Without serial number and time, which would be others each time.
type bill struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PackageURL string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// billOf returns the bill of a binary's modules, of Go's own library among them; digest is the zip's.
func billOf(info *debug.BuildInfo, digest string) bill {
	whole := component{
		Type: "application", Name: info.Path, Version: info.Main.Version, PackageURL: packageURL(info.Main.Path, info.Main.Version),
		Hashes: []hash{{"SHA-256", digest}},
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOAMD64", "GOARM64", "CGO_ENABLED", "-tags", "-trimpath":
			whole.Properties = append(whole.Properties, property{"go:build:" + s.Key, s.Value})
		}
	}
	is := bill{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: metadata{whole}, Components: []component{{
		Type: "library", Name: "std", Version: info.GoVersion, PackageURL: packageURL("std", strings.TrimPrefix(info.GoVersion, "go")),
	}}}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		is.Components = append(is.Components, component{
			Type: "library", Name: module.Path, Version: module.Version, PackageURL: packageURL(module.Path, module.Version),
			Properties: []property{{"go:sum", module.Sum}},
		})
	}
	return is
}

// packageURL names a Go module as https://github.com/package-url/purl-spec has it; what was built from a checkout has none.
func packageURL(path, version string) string {
	if version == "(devel)" {
		return ""
	}
	return "pkg:golang/" + path + "@" + url.PathEscape(version)
}
