// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settings is what the command line, the environment and the configuration file
// say, in this order of weight.
type settings struct {
	Config
	clusterSettings

	dataDir          string
	minFree          int64
	tlsCert, tlsKey  string
	configFile       string
	logFormat        string
	logLevel         slog.Level
	grace            time.Duration
	explicitlyListed map[string]bool // flags that something has set
}

// envPrefix begins the environment variable of every flag.
const envPrefix = "TROUPE_"

// envName returns the environment variable of a flag.
func envName(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// unknownVariables returns the names of those variables that look like settings and are
// none, such as one that is misspelt. Those are left out that Kubernetes makes for a
// service of the name troupe.
func unknownVariables(environ []string) []string {
	known := make(map[string]bool)
	new(settings).flags(io.Discard).VisitAll(func(f *flag.Flag) { known[envName(f.Name)] = true })
	var unknown []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		if ours && !known[name] && !strings.HasPrefix(rest, "SERVICE_") && !strings.HasPrefix(rest, "PORT") {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// programName is what the usage calls the program: the name that it was started by.
func programName() string {
	return filepath.Base(os.Args[0])
}

// flags declares every flag. Its default values are the defaults of the server.
func (s *settings) flags(output io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(programName(), flag.ContinueOnError)
	f.SetOutput(output)
	s.Limits = DefaultLimits()

	f.StringVar(&s.Listen, "listen", DefaultListen, "`address` to listen on")
	f.StringVar(&s.dataDir, "data-dir", "troupe-data", "`directory` of the embedded store; made if absent")
	f.Int64Var(&s.minFree, "min-free-bytes", 256<<20, "`bytes` of the disk that are kept free: with less, changes are refused; negative keeps none")
	s.clusterSettings.flags(f)
	s.configFlag(f)
	f.Var(list{&s.Namespaces}, "namespaces", "comma-separated `names` of the tenants; * is any (default \"default\")")

	f.StringVar(&s.tlsCert, "tls-cert", "", "certificate chain `file` (PEM); browsers get HTTP/2 only with one")
	f.StringVar(&s.tlsKey, "tls-key", "", "private key `file` (PEM) of -tls-cert")
	f.BoolVar(&s.InsecureAnonymous, "insecure-anonymous", false, "allow anonymous callers on an address that is not loopback")
	f.Var(list{&s.AllowedHosts}, "allowed-hosts", "comma-separated `names` that the server answers to besides its own address; * is any")
	f.Var(list{&s.TrustedProxies}, "trusted-proxies", "comma-separated `networks` of proxies whose X-Forwarded-For or Forwarded is believed, such as 10.0.0.0/8")
	f.Var(list{&s.CORSOrigins}, "cors-origins", "comma-separated `origins` whose pages may call, such as https://app.example.com")
	f.BoolVar(&s.NoHTTPGet, "no-http-get", false, "refuse HTTP GET for read-only methods, which puts requests into URLs")
	f.BoolVar(&s.StrictJSON, "strict-json", false, "refuse requests in JSON that have fields unknown to the schema")
	f.StringVar(&s.Reflection, "reflection", "auto", "serve schemas to tools: on, off, or auto (`when` listening on loopback)")

	f.BoolVar(&s.Development, "dev", false, "look for mistakes of actors that cost too much to look for in production")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "`level`: debug, info, warn or error; debug has a line for each call")
	f.DurationVar(&s.grace, "grace-period", 30*time.Second, "`time` that a stop may take before what is left is cut")

	l := &s.Limits
	f.IntVar(&l.Connections, "max-connections", l.Connections, "open connections")
	f.IntVar(&l.ConnectionRate, "max-connection-rate", l.ConnectionRate, "new connections a second, after a burst of four times as many")
	f.IntVar(&l.ConnectionsPerIP, "max-connections-per-ip", l.ConnectionsPerIP, "open connections of one address; 0 is no limit")
	f.IntVar(&l.StreamsPerConnection, "max-streams-per-connection", l.StreamsPerConnection, "calls at once on one HTTP/2 connection")
	f.IntVar(&l.Calls, "max-calls", l.Calls, "calls in flight")
	f.IntVar(&l.CallsPerPrincipal, "max-calls-per-principal", l.CallsPerPrincipal, "calls in flight of one principal; 0 is no limit")
	f.IntVar(&l.CallsPerIPAndActor, "max-calls-per-ip-and-actor", l.CallsPerIPAndActor, "calls in flight from one address to one actor; 0 is no limit")
	f.IntVar(&l.RatePerIPAndActor, "max-rate-per-ip-and-actor", l.RatePerIPAndActor, "requests a minute from one address to one actor; 0 is no limit")
	f.IntVar(&l.Subscriptions, "max-subscriptions", l.Subscriptions, "open subscriptions, streaming actions and raw requests")
	f.IntVar(&l.SubscriptionsPerPrincipal, "max-subscriptions-per-principal", l.SubscriptionsPerPrincipal, "open subscriptions, streaming actions and raw requests of one principal; 0 is no limit")
	f.IntVar(&l.AuthFailuresPerIP, "max-auth-failures-per-ip", l.AuthFailuresPerIP, "failed authentications a minute of one address; 0 is no limit")
	f.IntVar(&s.ScheduledTurns, "scheduled-turns", 64, "`actors` that may run a schedule at one time")
	f.IntVar(&s.WakeRate, "wake-rate", 500, "sleeping `actors` that are woken in a second for what is due")
	f.IntVar(&s.ConcurrentWakes, "concurrent-wakes", 256, "`actors` that come into memory at one time")
	f.Int64Var(&s.MemoryLimit, "memory-limit", 0, "`bytes` that the live heap is compared with to shed load; 0 is GOMEMLIMIT, which Go's collector keeps to as well")
	f.IntVar(&l.RequestBytes, "max-request-bytes", l.RequestBytes, "size of a request message")
	f.IntVar(&l.ResponseBytes, "max-response-bytes", l.ResponseBytes, "size of a response message")
	f.IntVar(&l.HeaderBytes, "max-header-bytes", l.HeaderBytes, "size of a request's line and headers")
	f.DurationVar(&l.HeaderTimeout, "header-timeout", l.HeaderTimeout, "`time` for a request's headers, and for a TLS handshake")
	f.DurationVar(&l.BodyTimeout, "body-timeout", l.BodyTimeout, "`time` for a request's body")
	f.DurationVar(&l.AuthTimeout, "auth-timeout", l.AuthTimeout, "`time` for the authentication of a request")
	f.DurationVar(&l.StreamAge, "max-stream-age", l.StreamAge, "`time` that a subscription lasts, give or take a tenth")
	f.DurationVar(&l.Heartbeat, "heartbeat", l.Heartbeat, "longest `time` that a subscription is silent")
	f.DurationVar(&l.WriteTimeout, "write-timeout", l.WriteTimeout, "`time` for one write to a subscriber")
	f.DurationVar(&l.IdleTimeout, "idle-timeout", l.IdleTimeout, "`time` that a connection may be idle")
	f.DurationVar(&l.ActionTimeout, "max-action-timeout", l.ActionTimeout, "longest `time` that a caller may give a call")

	f.Usage = func() {
		_, _ = fmt.Fprintf(output, "Usage: %[1]s [flags]\n       %[1]s cluster [flags]   what runs where, and commands about it\n\nEvery flag can also be set in the environment (-data-dir as %[2]s)\nand in the -config file; the command line wins, then the environment.\n\n",
			f.Name(), envName("data-dir")) // nobody listens
		f.PrintDefaults()
	}
	return f
}

// configFlag declares where further flags are.
func (s *settings) configFlag(f *flag.FlagSet) {
	f.StringVar(&s.configFile, "config", "", "JSON `file` of flags: {\"listen\": \"127.0.0.1:8080\", \"namespaces\": [\"default\"]}")
}

// parse reads the settings of a server.
func parse(args []string, env func(string) string, output io.Writer) (*settings, error) {
	s := new(settings)
	f := s.flags(output)
	words, err := s.read(f, args, env)
	if err != nil {
		return nil, err
	}
	if len(words) > 0 {
		return nil, fmt.Errorf("unexpected argument %q: every setting is a flag, and the one command, cluster, comes first", words[0])
	}
	if err := errors.Join(checkSigns(f), s.withDefaults().checkTexts(flagOf)); err != nil {
		return nil, err
	}
	return s, s.finish()
}

// checkSigns refuses numbers and times that are negative and must not be.
func checkSigns(f *flag.FlagSet) error {
	var errs []error
	f.VisitAll(func(set *flag.Flag) {
		value, ok := set.Value.(flag.Getter)
		if !ok || set.Name == "min-free-bytes" {
			return
		}
		negative := false
		switch number := value.Get().(type) {
		case int:
			negative = number < 0
		case int64:
			negative = number < 0
		case time.Duration:
			negative = number < 0
		}
		if negative {
			errs = append(errs, fmt.Errorf("-%s is negative", set.Name))
		}
	})
	return errors.Join(errs...)
}

// flagOf is the flag of a field that [Config.checkTexts] is about.
func flagOf(field string) string {
	return map[string]string{
		"Reflection": "-reflection", "Namespaces": "-namespaces", "TrustedProxies": "-trusted-proxies", "CORSOrigins": "-cors-origins",
	}[field]
}

// read sets the flags of f out of args, then out of env those that args leave out, then
// out of the configuration file what is still left out. It returns the arguments that
// are no flags.
func (s *settings) read(f *flag.FlagSet, args []string, env func(string) string) (words []string, err error) {
	s.explicitlyListed = make(map[string]bool)
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	f.Visit(func(set *flag.Flag) { s.explicitlyListed[set.Name] = true })
	if err := s.fill(f, "the environment", func(name string) (string, bool) {
		value := env(envName(name))
		return value, value != ""
	}); err != nil {
		return nil, err
	}
	if s.configFile == "" {
		return words, nil
	}
	values, err := readConfigFile(s.configFile, new(settings).flags(io.Discard))
	if err != nil {
		return nil, err
	}
	return words, s.fill(f, s.configFile, func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	})
}

// fill sets the flags that nothing has set yet.
func (s *settings) fill(f *flag.FlagSet, source string, look func(name string) (string, bool)) error {
	var errs []error
	f.VisitAll(func(declared *flag.Flag) {
		if s.explicitlyListed[declared.Name] {
			return
		}
		value, ok := look(declared.Name)
		if !ok {
			return
		}
		s.explicitlyListed[declared.Name] = true
		if err := f.Set(declared.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: -%s: %q: %w", source, declared.Name, value, err))
		}
	})
	return errors.Join(errs...)
}

// finish turns text into what it stands for.
func (s *settings) finish() error {
	if !slices.Contains([]string{"text", "json"}, s.logFormat) {
		return fmt.Errorf("-log-format is text or json, not %q", s.logFormat)
	}
	if s.dataDir == "" {
		return errors.New("-data-dir is empty: name the directory that keeps the actors")
	}
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return errors.New("-tls-cert and -tls-key belong together")
	}
	if s.tlsCert != "" {
		certificate, err := tls.LoadX509KeyPair(s.tlsCert, s.tlsKey)
		if err != nil {
			return fmt.Errorf("-tls-cert: %w", err)
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	return s.clusterSettings.finish()
}

// logger makes the log that the flags ask for.
func (s *settings) logger(output io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(output, options))
	}
	return slog.New(slog.NewTextHandler(output, options))
}

// readConfigFile reads a JSON object of flags: strings, numbers, booleans and
// lists of strings.
func readConfigFile(path string, f *flag.FlagSet) (map[string]string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("-config: %w", err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("-config: %s: %w", path, err)
	}
	values := make(map[string]string, len(raw))
	for name, value := range raw {
		if f.Lookup(name) == nil || name == "config" {
			return nil, fmt.Errorf("-config: %s: there is no setting %q", path, name)
		}
		var text string
		var items []string
		switch {
		case json.Unmarshal(value, &text) == nil:
			values[name] = text
		case json.Unmarshal(value, &items) == nil:
			values[name] = strings.Join(items, ",")
		case value[0] == '{' || value[0] == '[':
			return nil, fmt.Errorf("-config: %s: %q is neither a string, a number, a boolean nor a list of strings", path, name)
		default:
			values[name] = string(value)
		}
	}
	return values, nil
}

// list is a flag whose value is a comma-separated list.
type list struct{ items *[]string }

// String implements [flag.Value].
func (l list) String() string {
	if l.items == nil {
		return ""
	}
	return strings.Join(*l.items, ",")
}

// Set implements [flag.Value].
func (l list) Set(text string) error {
	*l.items = nil
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l.items = append(*l.items, item)
		}
	}
	return nil
}
