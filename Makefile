# What one types. Each target does its own set-up; `make` alone lists them.
#
#   make demo FILE=path PEERS=5     make fuzz SECONDS=60     make bench ARGS="rate --size 64"

SHELL := /bin/bash
FILE ?=
PEERS ?=
SECONDS ?=
CASES ?=
RUNS ?= 3
SEEDS ?=
MEGABYTES ?= 1000
ARGS ?=

# What other implementations of media are made with: Pion and GStreamer.
MEDIA := golang-go golang-github-pion-webrtc.v3-dev gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-nice \
  python3-gst-1.0 gir1.2-gst-plugins-bad-1.0
# What networks of namespaces, their NATs and their servers are made with.
NETWORKS := iproute2 nftables procps coturn openssl

.PHONY: help setup build demo test conformance interop witness soak fuzz lint bench wan nat-lab address-change clean

help:
	@echo "make demo      a swarm of three processes: join, connect, send a file, vote   [PEERS=n] [FILE=path]"
	@echo "make test      every test, the simulation over 1,000 seeds, the consumer package   [SEEDS=n]"
	@echo "make conformance   SCTP against the published suites: suite, passed, not applicable"
	@echo "make interop   data channels and media with Chromium, Pion, aiortc and GStreamer, both roles; TURN; as root"
	@echo "make nat-lab   two peers behind every kind of NAT, with TURN and without, as root   [ARGS='--peers aioice']"
	@echo "make address-change   a transfer while addresses and interfaces change, as root   [MEGABYTES=1000]"
	@echo "make witness   SCTP with libusrsctp, 500 runs   [SEEDS=n]"
	@echo "make soak      two SCTP associations over a hostile network, 20,000 seeds   [SEEDS=n]"
	@echo "make fuzz      every fuzz target for a while   [SECONDS=20]"
	@echo "make lint      format, imports, clocks, and no warnings in a clean build"
	@echo "make bench     throughput, rate, latency, set-up   [ARGS='rate --size 64']"
	@echo "make wan       the same over simulated wide-area links, as root   [CASES=clean,mixed] [SECONDS=n] [RUNS=3]"
	@echo "make build     release build of everything"

setup:
	@Scripts/setup

build: setup
	swift build -c release

demo: setup
	swift build -c release --product swarm
	.build/release/swarm demo $(if $(PEERS),--peers $(PEERS)) $(if $(FILE),--file '$(FILE)')

test:
	@Scripts/setup python3
	SEEDS=$(or $(SEEDS),1000) Scripts/test

conformance:
	@Scripts/setup python3
	Scripts/conformance

interop:
	@Scripts/setup python3 python3-venv chromium $(MEDIA) $(NETWORKS)
	swift build -c release --product swarm
	Interop/chromium.py --swarm .build/release/swarm
	Interop/pion.py --swarm .build/release/swarm
	Interop/turn.py --swarm .build/release/swarm
	Interop/aiortc.py --swarm .build/release/swarm
	Interop/media.py --swarm .build/release/swarm
	Interop/media_peers.py --swarm .build/release/swarm
	Interop/recording.py --swarm .build/release/swarm

witness:
	@Scripts/setup libusrsctp2
	CI=true $(if $(SEEDS),WITNESS_SEEDS=$(SEEDS)) swift test --filter UsrsctpTests

soak: setup
	swift build -c release --product SCTPSoak
	Scripts/soak $(or $(SEEDS),20000)

fuzz: setup
	Scripts/fuzz $(or $(SECONDS),20)

lint:
	@Scripts/setup python3
	Scripts/lint

bench:
	@Scripts/setup python3
	swift build -c release --product swarm
	Scripts/bench $(ARGS)

wan:
	@Scripts/setup python3 iproute2 iperf3 gcc
	swift build -c release --product swarm
	Scripts/wan --runs $(RUNS) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(CASES),--cases $(CASES)) $(ARGS)

nat-lab:
	@Scripts/setup python3 python3-venv $(NETWORKS)
	swift build -c release --product swarm
	Scripts/nat-lab $(ARGS)

address-change:
	@Scripts/setup python3 iproute2 procps
	swift build -c release --product swarm
	Scripts/address-change --megabytes $(MEGABYTES)

clean:
	rm -rf .build Fuzz/.build Tests/ConsumerPackage/.build
