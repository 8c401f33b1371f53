// Answers what BuildKit makes of Dockerfiles and patterns, for kraft to be compared with: a request
// in JSON on each line of the input, its answer on a line of the output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	fscopy "github.com/tonistiigi/fsutil/copy"
)

type request struct {
	Op       string
	Text     string
	Escape   string
	Env      []string
	Patterns []string
	Paths    []string
	Context  string
	Into     string
}

type answer struct {
	Error string `json:"error,omitempty"`
	Value any    `json:"value,omitempty"`
}

func main() {
	fscopy.UmaskIsZero = false
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		value, err := asked.answer()
		told := answer{Value: value}
		if err != nil {
			told = answer{Error: err.Error()}
		}
		if err := encoder.Encode(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out.Flush()
	}
}

func (r *request) answer() (any, error) {
	switch r.Op {
	case "word", "document":
		lex := shell.NewLex(rune(r.Escape[0]))
		lex.SkipProcessQuotes = r.Op == "document"
		value, _, err := lex.ProcessWord(r.Text, shell.EnvsFromSlice(r.Env))
		return value, err
	case "parse":
		return r.parse()
	case "ignore":
		return r.ignore()
	case "match":
		return r.match()
	case "copy":
		return nil, r.copy()
	}
	return nil, errors.New("unknown request")
}

// match tells for every path whether a pattern of a COPY matches it.
func (r *request) match() (any, error) {
	matched := []bool{}
	for _, path := range r.Paths {
		found, err := filepath.Match(r.Text, path)
		if err != nil {
			return nil, err
		}
		matched = append(matched, found)
	}
	return matched, nil
}

// ignore tells for every path whether an ignore file leaves it out, as a walk over a context does.
func (r *request) ignore() (any, error) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(r.Text))
	if err != nil {
		return nil, err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	matched := []bool{}
	for _, path := range r.Paths {
		var info patternmatcher.MatchInfo
		var found bool
		parts := strings.Split(path, "/")
		for end := range parts {
			found, info, err = matcher.MatchesUsingParentResults(strings.Join(parts[:end+1], "/"), info)
			if err != nil {
				return nil, err
			}
		}
		matched = append(matched, found)
	}
	return matched, nil
}

func (r *request) read() ([]instructions.Stage, []instructions.ArgCommand, *parser.Result, error) {
	read, err := parser.Parse(strings.NewReader(r.Text))
	if err != nil {
		return nil, nil, nil, err
	}
	stages, args, err := instructions.Parse(read.AST, nil)
	return stages, args, read, err
}

func (r *request) parse() (any, error) {
	stages, args, read, err := r.read()
	if err != nil {
		return nil, err
	}
	lex := shell.NewLex(read.EscapeToken)
	expand := func(word string) (string, error) {
		value, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(r.Env))
		return value, err
	}
	told := []string{}
	for _, arg := range args {
		told = append(told, "ARG "+pairs(arg.Args))
	}
	for _, stage := range stages {
		told = append(told, "FROM "+q([]string{stage.BaseName, stage.Name, stage.Platform}))
		for _, command := range stage.Commands {
			line, err := tell(command, expand)
			if err != nil {
				return nil, err
			}
			told = append(told, line)
		}
	}
	return told, nil
}

// q writes a value as JSON, as the other side does.
func q(value any) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func pairs(args []instructions.KeyValuePairOptional) string {
	told := []string{}
	for _, arg := range args {
		if arg.Value == nil {
			told = append(told, q(arg.Key))
		} else {
			told = append(told, q(arg.Key)+"="+q(*arg.Value))
		}
	}
	return strings.Join(told, " ")
}

func kvps(all instructions.KeyValuePairs) string {
	told := []string{}
	for _, pair := range all {
		told = append(told, q(pair.Key)+"="+q(pair.Value))
	}
	return strings.Join(told, " ")
}

func line(command instructions.ShellDependantCmdLine) string {
	told := []string{fmt.Sprintf("shell=%v %s", command.PrependShell, q(append([]string{}, command.CmdLine...)))}
	for _, file := range command.Files {
		data := file.Data
		// Others are the shell's.
		if file.Chomp && parser.MustParseHeredoc(command.CmdLine[0]) != nil {
			data = parser.ChompHeredocContent(data)
		}
		told = append(told, "<<"+q(file.Name)+" "+q(data))
	}
	return strings.Join(told, " ")
}

func sources(all instructions.SourcesAndDest, excludes []string) string {
	told := q(append([]string{}, all.SourcePaths...)) + " " + q(all.DestPath)
	for _, content := range all.SourceContents {
		told += fmt.Sprintf(" <<%s %s %v", q(content.Path), q(content.Data), content.Expand)
	}
	return told + " " + q(append([]string{}, excludes...))
}

func tell(command instructions.Command, expand instructions.SingleWordExpander) (string, error) {
	switch c := command.(type) {
	case *instructions.AddCommand:
		return fmt.Sprintf("ADD %s %v ", q([]string{c.Chown, c.Chmod}), c.Link) + sources(c.SourcesAndDest, c.ExcludePatterns), nil
	case *instructions.CopyCommand:
		return fmt.Sprintf("COPY %s %v %v ", q([]string{c.From, c.Chown, c.Chmod}), c.Link, c.Parents) + sources(c.SourcesAndDest, c.ExcludePatterns), nil
	case *instructions.ArgCommand:
		return "ARG " + pairs(c.Args), nil
	case *instructions.EnvCommand:
		return "ENV " + kvps(c.Env), nil
	case *instructions.LabelCommand:
		return "LABEL " + kvps(c.Labels), nil
	case *instructions.CmdCommand:
		return "CMD " + line(c.ShellDependantCmdLine), nil
	case *instructions.EntrypointCommand:
		return "ENTRYPOINT " + line(c.ShellDependantCmdLine), nil
	case *instructions.ShellCommand:
		return "SHELL " + q(c.Shell), nil
	case *instructions.UserCommand:
		return "USER " + q(c.User), nil
	case *instructions.WorkdirCommand:
		return "WORKDIR " + q(c.Path), nil
	case *instructions.VolumeCommand:
		return "VOLUME " + q(c.Volumes), nil
	case *instructions.StopSignalCommand:
		return "STOPSIGNAL " + q(c.Signal), nil
	case *instructions.MaintainerCommand:
		return "MAINTAINER " + q(c.Maintainer), nil
	case *instructions.ExposeCommand:
		return "EXPOSE " + q(c.Ports), nil
	case *instructions.OnbuildCommand:
		first, rest, _ := strings.Cut(c.Expression, "\n")
		return "ONBUILD " + q(strings.TrimSpace(strings.TrimSpace(first)+"\n"+rest)), nil
	case *instructions.HealthCheckCommand:
		return "HEALTHCHECK", nil
	case *instructions.RunCommand:
		if err := c.Expand(expand); err != nil {
			return "", err
		}
		told := "RUN " + line(c.ShellDependantCmdLine)
		for _, mount := range instructions.GetMounts(c) {
			told += " " + mounted(mount)
		}
		return told, nil
	}
	return "", fmt.Errorf("no answer for %T", command)
}

func number(value *uint64) string {
	if value == nil {
		return "-"
	}
	return strconv.FormatUint(*value, 10)
}

func mounted(m *instructions.Mount) string {
	env := "-"
	if m.Env != nil {
		env = *m.Env
	}
	sharing := m.CacheSharing
	if sharing == "" {
		sharing = instructions.MountSharingShared
	}
	return fmt.Sprintf("[%s %s ro=%v size=%d %s required=%v mode=%s uid=%s gid=%s]",
		m.Type, q([]string{m.From, m.Source, m.Target, m.CacheID, env}), m.ReadOnly, m.SizeLimit, sharing, m.Required,
		number(m.Mode), number(m.UID), number(m.GID))
}

// copy executes the ENV, COPY and ADD instructions of a Dockerfile from a context into a directory.
func (r *request) copy() error {
	stages, _, read, err := r.read()
	if err != nil {
		return err
	}
	lex := shell.NewLex(read.EscapeToken)
	env := append([]string{}, r.Env...)
	for _, command := range stages[len(stages)-1].Commands {
		expand := func(word string) (string, error) {
			lex.SkipProcessQuotes = false
			value, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(env))
			return value, err
		}
		raw := func(word string) (string, error) {
			lex.SkipProcessQuotes = true
			value, _, err := lex.ProcessWord(word, shell.EnvsFromSlice(env))
			return value, err
		}
		switch c := command.(type) {
		case *instructions.EnvCommand:
			if err := c.Expand(expand); err != nil {
				return err
			}
			for _, pair := range c.Env {
				env = append(env, pair.Key+"="+pair.Value)
			}
		case *instructions.CopyCommand:
			if err := c.Expand(expand); err != nil {
				return err
			}
			if err := c.ExpandRaw(raw); err != nil {
				return err
			}
			if err := r.one(c); err != nil {
				return err
			}
		default:
			return fmt.Errorf("no copy for %T", command)
		}
	}
	return nil
}

// one does what the frontend asks for and the solver then does (`dispatchCopy`, `docopy`).
func (r *request) one(c *instructions.CopyCommand) error {
	info := fscopy.CopyInfo{ExcludePatterns: c.ExcludePatterns, CopyDirContents: true, FollowLinks: true}
	if c.Chmod != "" {
		if mode, err := strconv.ParseUint(c.Chmod, 8, 32); err == nil {
			plain := int(mode)
			info.Mode = &plain
		} else {
			info.ModeStr = c.Chmod
		}
	}
	destination := c.DestPath
	if destination == "." || destination == "" {
		destination = "./"
	}
	into := rooted(destination)
	for _, source := range c.SourcePaths {
		info := info
		if c.Parents {
			parent, pattern, ok := strings.Cut(source, "/./")
			if !ok {
				parent, pattern = "/", source
			}
			pattern = strings.TrimPrefix(filepath.Join("/", pattern), "/")
			info.IncludePatterns = []string{pattern}
			source = parent
			if !wild(parent) && !wild(pattern) && pattern != "" {
				if err := r.required(parent, pattern, c.ExcludePatterns); err != nil {
					return err
				}
			}
		}
		found, err := fscopy.ResolveWildcards(r.Context, rooted(source), true)
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := fscopy.Copy(context.Background(), r.Context, path, r.Into, into, fscopy.WithCopyInfo(info)); err != nil {
				return err
			}
		}
	}
	for _, content := range c.SourceContents {
		info := info
		info.ExcludePatterns = c.ExcludePatterns
		dir, err := os.MkdirTemp("", "document")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		full := filepath.Join(dir, content.Path)
		if err := os.WriteFile(full, []byte(content.Data), 0o644); err != nil {
			return err
		}
		if err := os.Chmod(full, 0o644); err != nil {
			return err
		}
		if err := fscopy.Copy(context.Background(), dir, rooted(content.Path), r.Into, into, fscopy.WithCopyInfo(info)); err != nil {
			return err
		}
	}
	return nil
}

// required tells whether something below a directory is included and begins with a path
// (`cache/contenthash`).
func (r *request) required(root, pattern string, excludes []string) error {
	included, err := patternmatcher.New([]string{pattern})
	if err != nil {
		return err
	}
	excluded, err := patternmatcher.New(excludes)
	if err != nil {
		return err
	}
	base, err := fs.RootPath(r.Context, root)
	if err != nil {
		return err
	}
	found := false
	err = filepath.WalkDir(base, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == base {
			return err
		}
		rel, err := filepath.Rel(base, path)
		if err != nil {
			return err
		}
		in, err := included.MatchesOrParentMatches(rel)
		if err != nil {
			return err
		}
		out, err := excluded.MatchesOrParentMatches(rel)
		found = found || in && !out && strings.HasPrefix(rel, pattern)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("%q not found", pattern)
	}
	return err
}

func wild(name string) bool {
	for at := 0; at < len(name); at++ {
		switch name[at] {
		case '*', '?', '[':
			return true
		case '\\':
			at++
		}
	}
	return false
}

// rooted makes a path absolute and keeps what tells that it is a directory.
func rooted(path string) string {
	clean := filepath.Join("/", path)
	switch {
	case strings.HasSuffix(path, "/."):
		return strings.TrimSuffix(clean, "/") + "/."
	case strings.HasSuffix(path, "/") && clean != "/":
		return clean + "/"
	}
	return clean
}
