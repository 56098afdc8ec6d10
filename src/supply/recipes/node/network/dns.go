package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	dnsTimeout   = 5 * time.Second
	dnsPacketMax = 65535
)

// serveDNS passes DNS messages on to `upstream` unread, over UDP and TCP, until ctx ends.
func serveDNS(ctx context.Context, address, upstream string) error {
	upstream = net.JoinHostPort(strings.TrimSpace(upstream), "53")
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	streams, err := net.Listen("tcp", address)
	if err != nil {
		packets.Close()
		return fmt.Errorf("tcp: %w", err)
	}
	context.AfterFunc(ctx, func() { packets.Close(); streams.Close() })
	go servePackets(packets, upstream)
	go serveStreams(streams, upstream)
	return nil
}

func servePackets(packets net.PacketConn, upstream string) {
	buffer := make([]byte, dnsPacketMax)
	for {
		size, client, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		question := append([]byte(nil), buffer[:size]...)
		go func() {
			// No answer is an answer that DNS clients understand: they ask again.
			server, err := net.DialTimeout("udp", upstream, dnsTimeout)
			if err != nil {
				return
			}
			defer server.Close()
			server.SetDeadline(time.Now().Add(dnsTimeout))
			if _, err := server.Write(question); err != nil {
				return
			}
			answer := make([]byte, dnsPacketMax)
			if size, err := server.Read(answer); err == nil {
				packets.WriteTo(answer[:size], client)
			}
		}()
	}
}

func serveStreams(streams net.Listener, upstream string) {
	for {
		client, err := streams.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := net.DialTimeout("tcp", upstream, dnsTimeout)
			if err != nil {
				return
			}
			defer server.Close()
			deadline := time.Now().Add(2 * dnsTimeout)
			client.SetDeadline(deadline)
			server.SetDeadline(deadline)
			go io.Copy(server, client)
			io.Copy(client, server)
		}()
	}
}
