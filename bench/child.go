// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long a child may take to answer, beyond what it was asked to
// spend.
const patience = 60 * time.Second

// child is a server in a process of its own, so that its CPU time and memory are
// its own. Between its turns it is stopped, so that it cannot disturb another's.
type child struct {
	name    string
	addr    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *gob.Encoder
	answers chan report
	stopped bool
}

// start runs this program again as the given role.
func start(args ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{
		name:    args[0],
		answers: make(chan report),
		cmd:     exec.CommandContext(context.Background(), program, append([]string{"serve"}, args...)...), //nolint:gosec // this very program
	}
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = childAttributes()
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	c.orders = gob.NewEncoder(c.in)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.answers)
		for decoder := gob.NewDecoder(out); ; {
			var answer report
			if decoder.Decode(&answer) != nil {
				return
			}
			c.answers <- answer
		}
	}()
	answer, err := c.answer(patience)
	if err != nil {
		c.kill()
		return nil, err
	}
	c.addr = answer.Addr
	return c, nil
}

// do runs a command and waits for its answer.
func (c *child) do(order command) (report, error) {
	c.resume()
	if err := c.orders.Encode(order); err != nil {
		return report{}, fmt.Errorf("%s server: %w", c.name, err)
	}
	answer, err := c.answer(order.For + patience)
	if err != nil {
		return answer, fmt.Errorf("%s server: %s: %w", c.name, order.Do, err)
	}
	return answer, nil
}

func (c *child) answer(limit time.Duration) (report, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case answer, ok := <-c.answers:
		if !ok {
			return answer, errors.New("it has ended")
		}
		if answer.Error != "" {
			return answer, errors.New(answer.Error)
		}
		return answer, nil
	case <-timer.C:
		return report{}, errors.New("no answer in time")
	}
}

// cpu is the CPU time that the child has used.
func (c *child) cpu() (time.Duration, error) {
	answer, err := c.do(command{Do: "cpu"})
	return answer.CPU, err
}

// pause stops the child's every thread.
func (c *child) pause() {
	if !c.stopped {
		c.stopped = c.cmd.Process.Signal(syscall.SIGSTOP) == nil
	}
}

// resume lets a paused child go on.
func (c *child) resume() {
	if c.stopped {
		c.stopped = c.cmd.Process.Signal(syscall.SIGCONT) != nil
	}
}

// close ends the child in good order, or by force if it takes too long.
func (c *child) close() error {
	if c == nil {
		return nil
	}
	c.resume()
	_ = c.in.Close()
	timer := time.AfterFunc(patience/4, c.kill)
	defer timer.Stop()
	for range c.answers { // Until the child closes its output.
	}
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s server: %w", c.name, err)
	}
	return nil
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }
