package routefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/canonical"
)

// EncodeJSON writes spec as a route file in JSON, which Decode reads back.
func EncodeJSON(spec *routetable.Spec) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(spec); err != nil {
		return nil, fmt.Errorf("encode routes: %w", err)
	}
	return bytes.ReplaceAll(escapeBreaks(b.Bytes()), []byte("${"), []byte("$${")), nil
}

// escapeBreaks escapes, in JSON, what breaks a line in YAML or may not be there,
// and byte order marks: the reader of YAML takes one at the start of its buffer for
// one at the start of a line. None of it stands outside of strings.
func escapeBreaks(data []byte) []byte {
	for _, r := range []rune{0x85, 0x2028, 0x2029, 0xfeff, 0xfffe, 0xffff} {
		data = bytes.ReplaceAll(data, []byte(string(r)), fmt.Appendf(nil, `\u%04x`, r))
	}
	return data
}

// EncodeYAML writes spec as a route file in YAML, which Decode reads back. Texts
// that could be read as anything else are quoted as JSON does, which is YAML.
func EncodeYAML(spec *routetable.Spec) ([]byte, error) {
	data, err := EncodeJSON(spec)
	if err != nil {
		return nil, err
	}
	return YAML(data)
}

// YAML writes JSON, such as a Change holds, as EncodeYAML does.
func YAML(data []byte) ([]byte, error) {
	w := yamlWriter{in: json.NewDecoder(bytes.NewReader(data))}
	w.in.UseNumber()
	if err := w.value(0, false); err != nil {
		return nil, fmt.Errorf("encode routes: %w", err)
	}
	return append(bytes.TrimPrefix(w.out, []byte("\n")), '\n'), nil
}

// yamlWriter writes a stream of JSON tokens as YAML in block style.
type yamlWriter struct {
	in  *json.Decoder
	out []byte
}

// value writes the next value of in. In a list, a mapping begins on the line of
// its dash.
func (w *yamlWriter) value(indent int, inList bool) error {
	token, err := w.in.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		return w.collection(token, indent, inList)
	case string:
		w.out = append(append(w.out, ' '), yamlText(token)...)
	default:
		w.out = fmt.Appendf(w.out, " %v", token)
	}
	return nil
}

func (w *yamlWriter) collection(open json.Delim, indent int, inList bool) error {
	if !w.in.More() {
		w.out = append(w.out, map[json.Delim]string{'[': " []", '{': " {}"}[open]...)
	}
	for first := true; w.in.More(); first = false {
		if first && inList {
			w.out = append(w.out, ' ')
		} else {
			w.out = append(append(w.out, '\n'), strings.Repeat("  ", indent)...)
		}
		if open == '[' {
			w.out = append(w.out, '-')
			if err := w.value(indent+1, true); err != nil {
				return err
			}
			continue
		}
		key, err := w.in.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		w.out = append(append(w.out, yamlText(name)...), ':')
		if err := w.value(indent+1, false); err != nil {
			return err
		}
	}
	_, err := w.in.Token() // the closing one
	return err
}

// yamlText quotes what is not plainly a word, a path or an address.
func yamlText(s string) string {
	plain := s != "" && len(s) < 128 && (canonical.IsLetterOrDigit(s[0]) && s[0] > '9' || s[0] == '/') && s[len(s)-1] != ':' &&
		strings.IndexFunc(s, func(r rune) bool {
			return r >= 0x80 || !canonical.IsLetterOrDigit(byte(r)) && !strings.ContainsRune("_./-:", r)
		}) < 0
	if plain && !slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("routefile: " + err.Error()) // a string can always be written
	}
	return string(escapeBreaks([]byte(strings.TrimSuffix(b.String(), "\n"))))
}
