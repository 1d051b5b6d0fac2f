package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshgw/meshgw/auth"
)

var (
	b64   = base64.RawURLEncoding.EncodeToString
	start = time.Unix(1_800_000_000, 0)
)

// issuer signs tokens with a key of each kind.
type issuer struct {
	rsa    *rsa.PrivateKey
	ec     map[string]*ecdsa.PrivateKey // by algorithm
	ed     ed25519.PrivateKey
	keySet []byte
	verify *auth.Keys
}

var newIssuer = sync.OnceValue(func() *issuer {
	i := &issuer{ec: map[string]*ecdsa.PrivateKey{}, verify: new(auth.Keys)}
	var keys []map[string]string
	add := func(kid string, members map[string]string) {
		members["kid"] = kid
		keys = append(keys, members)
	}
	i.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	add("rsa", map[string]string{"kty": "RSA", "n": b64(i.rsa.N.Bytes()), "e": "AQAB", "use": "sig"})
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, _ := ecdsa.GenerateKey(curve, rand.Reader)
		i.ec[alg] = key
		point, _ := key.PublicKey.Bytes()
		size := (len(point) - 1) / 2
		add(alg, map[string]string{"kty": "EC", "crv": curve.Params().Name, "x": b64(point[1 : 1+size]), "y": b64(point[1+size:]), "alg": alg})
	}
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	i.ed = private
	add("ed", map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public)})
	add("shared", map[string]string{"kty": "oct", "k": b64([]byte("a shared secret that nobody may use"))})
	i.keySet, _ = json.Marshal(map[string]any{"keys": keys})
	set, err := auth.ParseKeySet(i.keySet)
	if err != nil {
		panic(err)
	}
	i.verify.Set(set)
	return i
})

// token signs claims. header is merged over {"alg": alg, "kid": kid of alg}.
func (i *issuer) token(alg string, header, claims map[string]any) string {
	h := map[string]any{"alg": alg, "typ": "JWT", "kid": i.kid(alg)}
	for k, v := range header {
		if h[k] = v; v == nil {
			delete(h, k)
		}
	}
	head, _ := json.Marshal(h)
	body, _ := json.Marshal(claims)
	message := b64(head) + "." + b64(body)
	return message + "." + b64(i.sign(alg, []byte(message)))
}

func (i *issuer) kid(alg string) string {
	switch alg[0] {
	case 'R', 'P':
		return "rsa"
	case 'E':
		if alg != "EdDSA" {
			return alg
		}
	}
	return "ed"
}

func (i *issuer) sign(alg string, message []byte) []byte {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	var sum []byte
	if hash != 0 {
		h := hash.New()
		h.Write(message)
		sum = h.Sum(nil)
	}
	var out []byte
	switch alg[:2] {
	case "RS":
		out, _ = rsa.SignPKCS1v15(rand.Reader, i.rsa, hash, sum)
	case "PS":
		out, _ = rsa.SignPSS(rand.Reader, i.rsa, hash, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES":
		r, s, _ := ecdsa.Sign(rand.Reader, i.ec[alg], sum)
		size := (i.ec[alg].Params().BitSize + 7) / 8
		out = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case "Ed":
		out = ed25519.Sign(i.ed, message)
	}
	return out
}

// good is what a token that holds at start says.
func good() map[string]any {
	return map[string]any{"iss": "https://issuer", "aud": []string{"other", "shop"}, "exp": start.Unix() + 300, "nbf": start.Unix() - 300, "sub": "ann"}
}

func goodBut(claim string, value any) map[string]any {
	claims := good()
	if claims[claim] = value; value == nil {
		delete(claims, claim)
	}
	return claims
}

func policy(tb testing.TB, algorithms ...string) *auth.Policy {
	tb.Helper()
	set, err := auth.ParseAlgorithms(algorithms)
	if err != nil {
		tb.Fatal(err)
	}
	return &auth.Policy{Issuer: "https://issuer", Audience: "shop", Algorithms: set}
}

func TestEveryAlgorithmVerifiesItsOwnTokensAlone(t *testing.T) {
	i := newIssuer()
	all := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for _, alg := range all {
		token := []byte(i.token(alg, nil, good()))
		for range 2 { // the second time from memory
			if _, err := i.verify.Verify(start, token, policy(t, alg)); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
		if _, err := i.verify.Verify(start, []byte(i.token(alg, map[string]any{"kid": nil}, good())), policy(t, alg)); err != nil {
			t.Errorf("%s without kid: %v", alg, err)
		}
		for _, other := range all {
			if other == alg {
				continue
			}
			if _, err := i.verify.Verify(start, token, policy(t, other)); !errors.Is(err, auth.ErrAlgorithm) {
				t.Errorf("%s where %s is asked for: got %v", alg, other, err)
			}
			swapped := i.token(alg, map[string]any{"alg": other}, good())
			if _, err := i.verify.Verify(start, []byte(swapped), policy(t, other)); err == nil {
				t.Errorf("%s signature under the name of %s was admitted", alg, other)
			}
		}
	}
}

func TestWhatATokenSaysDecides(t *testing.T) {
	i := newIssuer()
	now := start.Unix()
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   error
	}{
		{"good", good(), nil},
		{"audience as one text", goodBut("aud", "shop"), nil},
		{"fraction of a second", goodBut("exp", float64(now)+0.5), nil},
		{"no nbf", goodBut("nbf", nil), nil},
		{"expired within the leeway", goodBut("exp", now-59), nil},
		{"expired", goodBut("exp", now-60), auth.ErrExpired},
		{"early within the leeway", goodBut("nbf", now+60), nil},
		{"early", goodBut("nbf", now+61), auth.ErrNotYet},
		{"no end", goodBut("exp", nil), auth.ErrMalformed},
		{"end as text", goodBut("exp", "9999999999"), auth.ErrMalformed},
		{"end after the world's", goodBut("exp", 1e300), auth.ErrMalformed},
		{"nbf null", map[string]any{"iss": "https://issuer", "aud": "shop", "exp": now + 9, "nbf": nil}, auth.ErrMalformed},
		{"issuer", goodBut("iss", "https://issuer/"), auth.ErrIssuer},
		{"no issuer", goodBut("iss", nil), auth.ErrIssuer},
		{"issuer as list", goodBut("iss", []string{"https://issuer"}), auth.ErrMalformed},
		{"audience", goodBut("aud", []string{"shop2"}), auth.ErrAudience},
		{"no audience", goodBut("aud", nil), auth.ErrAudience},
		{"audience as number", goodBut("aud", 7), auth.ErrMalformed},
	} {
		_, err := i.verify.Verify(start, []byte(i.token("ES256", nil, c.claims)), policy(t, "ES256"))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	i := newIssuer()
	ok := i.token("RS256", nil, good())
	parts := strings.Split(ok, ".")
	hs := func(secret []byte) string {
		message := b64([]byte(`{"alg":"HS256","kid":"rsa"}`)) + "." + parts[1]
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(message))
		return message + "." + b64(mac.Sum(nil))
	}
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	theirs := &issuer{ec: map[string]*ecdsa.PrivateKey{"ES256": stranger}}
	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"none", b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", auth.ErrAlgorithm},
		{"None", b64([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".", auth.ErrAlgorithm},
		{"rs256 in lower case", b64([]byte(`{"alg":"rs256","kid":"rsa"}`)) + "." + parts[1] + "." + parts[2], auth.ErrAlgorithm},
		{"Alg instead of alg", b64([]byte(`{"Alg":"RS256","kid":"rsa"}`)) + "." + parts[1] + "." + parts[2], auth.ErrAlgorithm},
		{"alg twice", b64([]byte(`{"alg":"RS256","alg":"RS256","kid":"rsa"}`)) + "." + parts[1] + "." + parts[2], auth.ErrMalformed},
		{"HMAC by the public key", hs(i.rsa.N.Bytes()), auth.ErrAlgorithm},
		{"HMAC by the shared key", hs([]byte("a shared secret that nobody may use")), auth.ErrAlgorithm},
		{"other claims", parts[0] + "." + b64([]byte(`{"sub":"root","exp":9999999999}`)) + "." + parts[2], auth.ErrSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", auth.ErrSignature},
		{"zero signature", swapSignature(i.token("ES256", nil, good()), make([]byte, 64)), auth.ErrSignature},
		{"signature in DER", swapSignature(i.token("ES256", nil, good()), der(i)), auth.ErrSignature},
		{"a stranger's key under our name", theirs.token("ES256", nil, good()), auth.ErrSignature},
		{"a stranger's key under its own", theirs.token("ES256", map[string]any{"kid": "new"}, good()), auth.ErrUnknownKey},
		{"key in the header", theirs.token("ES256", map[string]any{"kid": nil, "jwk": map[string]string{"kty": "EC"}}, good()), auth.ErrSignature},
		{"crit", i.token("RS256", map[string]any{"crit": []string{"exp"}}, good()), auth.ErrMalformed},
		{"made for a logout", i.token("RS256", map[string]any{"typ": "logout+jwt"}, good()), auth.ErrType},
		{"no dots", strings.Join(parts, ""), auth.ErrMalformed},
		{"three dots", ok + ".", auth.ErrMalformed},
		{"padding", ok + "=", auth.ErrMalformed},
		{"line break", parts[0] + "\n." + parts[1] + "." + parts[2], auth.ErrMalformed},
		{"empty", "", auth.ErrMalformed},
		{"too long", ok + strings.Repeat("A", auth.MaxToken), auth.ErrMalformed},
	} {
		if _, err := i.verify.Verify(start, []byte(c.token), policy(t, "RS256", "ES256")); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func swapSignature(token string, signature []byte) string {
	return token[:strings.LastIndexByte(token, '.')+1] + b64(signature)
}

func der(i *issuer) []byte {
	sum := sha256.Sum256([]byte("x"))
	out, _ := ecdsa.SignASN1(rand.Reader, i.ec["ES256"], sum[:])
	return out
}

func TestATokenLastsAsLongAsItsKey(t *testing.T) {
	i := newIssuer()
	keys := new(auth.Keys)
	token := []byte(i.token("EdDSA", nil, good()))
	if _, err := keys.Verify(start, token, policy(t, "EdDSA")); !errors.Is(err, auth.ErrNoKeys) || keys.Ready() {
		t.Fatalf("without keys: %v", err)
	}
	set, _ := auth.ParseKeySet(i.keySet)
	keys.Set(set)
	if _, err := keys.Verify(start, token, policy(t, "EdDSA")); err != nil || !keys.Ready() {
		t.Fatal(err)
	}
	if _, err := keys.Verify(start.Add(time.Hour), token, policy(t, "EdDSA")); !errors.Is(err, auth.ErrExpired) {
		t.Fatalf("a token that was admitted before: got %v, want ErrExpired", err)
	}
	only, _ := auth.ParseKeySet([]byte(strings.ReplaceAll(string(i.keySet), `"ed"`, `"another"`)))
	keys.Set(only)
	if keys.TakeMissed() {
		t.Fatal("missed before anything was asked")
	}
	if _, err := keys.Verify(start, token, policy(t, "EdDSA")); !errors.Is(err, auth.ErrUnknownKey) {
		t.Fatalf("its key is gone: got %v", err)
	}
	if !keys.TakeMissed() || keys.TakeMissed() {
		t.Fatal("a missed key is told once")
	}
}

func TestClaimsAreTexts(t *testing.T) {
	i := newIssuer()
	claims := good()
	claims["groups"] = []any{"a", 7, true, nil, []string{"x"}}
	claims["n"], claims["o"], claims["z"] = 12.50, map[string]any{"a": 1}, nil
	token, err := i.verify.Verify(start, []byte(i.token("ES384", nil, claims)), policy(t, "ES384"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"sub": "ann", "groups": "a 7 true", "n": "12.5", "o": "", "z": "", "absent": ""} {
		if got := strings.Join(token.Claim(name), " "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestKeySetsWithoutAUsableKeyAreRefused(t *testing.T) {
	i := newIssuer()
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	n := b64(i.rsa.N.Bytes())
	even := b64(new(big.Int).Add(i.rsa.N, big.NewInt(1)).Bytes())
	for _, text := range []string{
		``, `[]`, `{}`, `{"keys":{}}`, `{"keys":[]}`, `{"keys":[1]}`, `{"keys":[{}]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + b64(weak.N.Bytes()) + `","e":"AQAB"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + even + `","e":"AQAB"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQ"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AAAAAQAAAAAA"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQAB","use":"enc"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQAB","alg":"RSA-OAEP"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQAB","alg":"ES256"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQAB","key_ops":["sign"]}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `=","e":"AQAB"}]}`,
		`{"keys":[{"kty":"RSA","n":"` + n + `","e":"AQAB","kid":7}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}]}`,
		`{"keys":[{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"X25519","x":"` + b64(make([]byte, 32)) + `"}]}`,
		`{"keys":[` + strings.Repeat(`{"kty":"oct"},`, 100) + `{"kty":"oct"}]}`,
	} {
		if _, err := auth.ParseKeySet([]byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
	set, err := auth.ParseKeySet(i.keySet)
	if err != nil || set.Len() != 5 {
		t.Errorf("got %d keys, %v, want 5: the shared one is passed over", set.Len(), err)
	}
}

func TestAlgorithmsAreNamedExactly(t *testing.T) {
	for _, name := range []string{"none", "HS256", "es256", "", "unknown", "RS256 "} {
		if _, err := auth.ParseAlgorithms([]string{name}); !errors.Is(err, auth.ErrAlgorithm) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestATokenSeenBeforeDoesNotAllocate(t *testing.T) {
	i := newIssuer()
	token, p := []byte(i.token("RS256", nil, good())), policy(t, "RS256")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := i.verify.Verify(start, token, p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzToken(f *testing.F) {
	i := newIssuer()
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		f.Add(i.token(alg, nil, good()))
	}
	f.Add("e30.e30.AA")
	f.Add(b64([]byte(`{"alg":"none"}`)) + ".e30.")
	p := policy(f, "RS256", "ES256", "EdDSA")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := i.verify.Verify(start, []byte(token), p)
		if _, again := i.verify.Verify(start, []byte(token), p); (err == nil) != (again == nil) {
			t.Errorf("%q: first %v, then %v", token, err, again)
		}
		if end := strings.LastIndexByte(token, '.'); err == nil && !i.signed(token[:end], token[end+1:]) {
			t.Errorf("admitted %q", token)
		}
	})
}

// signed reports whether one of the keys signed message, as the standard
// library sees it.
func (i *issuer) signed(message, signature string) bool {
	raw, _ := base64.RawURLEncoding.DecodeString(signature)
	sum := sha256.Sum256([]byte(message))
	half := len(raw) / 2
	return ed25519.Verify(i.ed.Public().(ed25519.PublicKey), []byte(message), raw) ||
		rsa.VerifyPKCS1v15(&i.rsa.PublicKey, crypto.SHA256, sum[:], raw) == nil ||
		ecdsa.Verify(&i.ec["ES256"].PublicKey, sum[:], new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:]))
}

// FuzzClaims signs whatever comes: readers of claims meet all of it.
func FuzzClaims(f *testing.F) {
	i := newIssuer()
	f.Add(`{"iss":"https://issuer","aud":"shop","exp":1800000300}`)
	f.Add(`{"exp":1e400,"a":[[],{}, null, "\ud800"]}`)
	p := policy(f, "EdDSA")
	f.Fuzz(func(t *testing.T, claims string) {
		message := b64([]byte(`{"alg":"EdDSA"}`)) + "." + b64([]byte(claims))
		token := message + "." + b64(i.sign("EdDSA", []byte(message)))
		if _, err := i.verify.Verify(start, []byte(token), p); err == nil && !json.Valid([]byte(claims)) {
			t.Errorf("admitted %q", claims)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add(newIssuer().keySet)
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := auth.ParseKeySet(data)
		if err == nil && set.Len() == 0 {
			t.Error("a set without a key")
		}
	})
}

func BenchmarkToken(b *testing.B) {
	i := newIssuer()
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		claims := good()
		claims["scope"] = strings.Repeat("orders:read ", 20)
		token, p := []byte(i.token(alg, nil, claims)), policy(b, alg)
		b.Run("alg="+alg+"/seen=true", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i.verify.Verify(start, token, p); err != nil {
					b.Fatal(err)
				}
			}
		})
		set, _ := auth.ParseKeySet(i.keySet)
		other, _ := auth.ParseKeySet([]byte(strings.Replace(string(i.keySet), "{", "{ ", 1)))
		b.Run("alg="+alg+"/seen=false", func(b *testing.B) {
			b.ReportAllocs()
			for keys := new(auth.Keys); b.Loop(); set, other = other, set {
				keys.Set(set) // forgets
				if _, err := keys.Verify(start, token, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
