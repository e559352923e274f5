package subscribers_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad: whatever the file is, Load returns, tells where each problem is, and quotes nothing of the file; and what loads
// fits the schema and matches nothing outside of its domain.
func FuzzLoad(f *testing.F) {
	const canary = "zq7canary"
	for _, pattern := range []string{"valid/*.yaml", "invalid/*.yaml"} {
		for _, file := range files(f, pattern) {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, part := range []int{0, 3, 5, 9} {
				f.Add(string(text), uint(len(text)*part/10))
			}
		}
	}
	fits := accepts(f)
	f.Fuzz(func(t *testing.T, text string, where uint) {
		planted := text
		if len(text) > 0 {
			at := int(where % uint(len(text)))
			planted = text[:at] + canary + text[at:]
		}
		for _, text := range []string{text, planted} {
			s, err := load(text)
			if err == nil {
				if err := fits([]byte(strings.ReplaceAll(text, "\r\n", "\n"))); err != nil {
					t.Errorf("this loads, but does not fit the schema: %v", err)
				}
				for _, name := range []string{
					"/bank/prod/payments-archive/neon/password", "/bank/prod/kyc/neon/password",
					"/bank/prod/payments/../kyc/neon/password", "/bank/prod/payments/",
				} {
					if got := s.Match([]string{name}); len(got) > 0 {
						t.Errorf("%s matches %v", name, got)
					}
				}
				continue
			}
			if strings.Contains(strings.ToLower(err.Error()), canary) {
				t.Errorf("the file is quoted: %v", err)
			}
			lines := strings.Split(text, "\n")
			before := [2]int{}
			for problem := range strings.SplitSeq(err.Error(), "\n") {
				at, err := positionOf(problem)
				if err != nil {
					t.Fatal(err)
				}
				if at[0] < 1 || at[0] > len(lines) || at[1] < 1 || at[1] > utf8.RuneCountInString(lines[at[0]-1])+1 {
					t.Errorf("not in the file: %s", problem)
				}
				if at[0] < before[0] || at[0] == before[0] && at[1] < before[1] {
					t.Errorf("not in the file's order: %s", problem)
				}
				before = at
			}
		}
	})
}

// positionOf reads the line and column from "payments.yaml:1:2: …".
func positionOf(problem string) ([2]int, error) {
	parts := strings.SplitN(problem, ":", 4)
	if len(parts) != 4 || parts[0] != "payments.yaml" || !strings.HasPrefix(parts[3], " ") || len(parts[3]) < 2 {
		return [2]int{}, fmt.Errorf("no place in the file: %q", problem)
	}
	line, err := strconv.Atoi(parts[1])
	if err != nil {
		return [2]int{}, err
	}
	column, err := strconv.Atoi(parts[2])
	return [2]int{line, column}, err
}
