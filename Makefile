# SPDX-License-Identifier: ISC
.POSIX:

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
SYSTEMDDIR = $(PREFIX)/lib/systemd/system
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d

CC = cc
CFLAGS = -O2 -g
CPPFLAGS =
LDFLAGS =
LDLIBS = -lsqlite3 -lxxhash -llz4 -lyaml -lm -lpthread
JOBS = 2

# What the sources need whatever the user's flags are.
STD = -std=c11 -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 \
	-D_TIME_BITS=64 -pthread

OBJ = apply.o ask.o audit.o capture.o check.o checkpoint.o claims.o client.o \
	cmd.o cmd_check.o cmd_config.o cmd_control.o cmd_ltx.o cmd_prune.o \
	cmd_replicate.o cmd_reset.o cmd_restore.o cmd_status.o cmd_sync.o \
	cmd_verify.o compact.o compare.o config.o control.o crc64.o db.o \
	diff.o dirs.o disk.o emit.o exec.o findings.o fleet.o follow.o \
	hooks.o http.o image.o intact.o job.o keys.o levels.o listing.o \
	log.o ltx.o ltx_read.o ltx_write.o merge.o metrics.o node.o \
	operand.o opt.o output.o pages.o pair.o pass.o plan.o points.o \
	probe.o progress.o receipt.o replicate.o restore.o resume.o retain.o \
	scan.o setup.o snapshot.o sock.o standby.o state.o status.o store.o \
	target.o text.o trouble.o unlz4.o upkeep.o util.o v3.o verify.o \
	wal.o watch.o
TEST_OBJ = litestream-test.o test_load.o test_run.o test_shrink.o test_sql.o \
	test_validate.o log.o opt.o text.o util.o
HDR = apply.h ask.h audit.h be.h capture.h check.h checkpoint.h claims.h \
	client.h cmd.h cmd_check.h cmd_config.h cmd_control.h cmd_ltx.h \
	cmd_prune.h cmd_replicate.h cmd_reset.h cmd_restore.h cmd_status.h \
	cmd_sync.h cmd_verify.h compact.h compare.h config.h control.h \
	crc64.h db.h dirs.h disk.h emit.h exec.h findings.h fleet.h follow.h \
	hooks.h http.h image.h intact.h job.h keys.h levels.h listing.h \
	log.h ltx.h ltx_format.h merge.h metrics.h node.h operand.h opt.h \
	output.h pages.h pair.h pass.h plan.h points.h probe.h progress.h \
	receipt.h replicate.h restore.h resume.h retain.h scan.h setup.h \
	snapshot.h sock.h standby.h state.h status.h store.h target.h \
	test_cmds.h text.h trouble.h unlz4.h upkeep.h util.h v3.h verify.h \
	wal.h watch.h
UNIT = tests/bin/unit-capture tests/bin/unit-config tests/bin/unit-compact \
	tests/bin/unit-ltx tests/bin/unit-plan tests/bin/unit-restore \
	tests/bin/unit-retain tests/bin/unit-state tests/bin/unit-wal
UNITS = litestream.service litestream@.service litestream-once@.service \
	litestream-once@.timer litestream-verify@.service \
	litestream-verify@.timer
# Calls between modules at which the schedule explorer can stop.
POINTS = -Wl,--wrap=db_pin,--wrap=db_unpin_old,--wrap=db_unpin_all \
	-Wl,--wrap=db_checkpoint,--wrap=db_sync,--wrap=db_truncate_wal \
	-Wl,--wrap=db_write_unlock,--wrap=db_index,--wrap=db_wal \
	-Wl,--wrap=db_check_size,--wrap=image_next,--wrap=store_publish \
	-Wl,--wrap=pages_save,--wrap=capture_diff,--wrap=capture_rejoin \
	-Wl,--wrap=snapshot_rebase,--wrap=sleep_ms \
	-Wl,--wrap=time_mono_ms,--wrap=time_wall_ms
SCHEDULE = tests/schedule.c tests/schedule_app.c tests/schedule_ours.c \
	tests/schedule_search.c tests/schedule_state.c tests/schedule_world.c
FUZZ = tests/fuzz/chain.c tests/fuzz/config.c tests/fuzz/form.c \
	tests/fuzz/fuzz.h tests/fuzz/http.c tests/fuzz/ltx-fixed.c tests/fuzz/ltx.c \
	tests/fuzz/main.c tests/fuzz/mem.c tests/fuzz/opt.c \
	tests/fuzz/pages.c tests/fuzz/seam.h tests/fuzz/text.c \
	tests/fuzz/unlz4.c tests/fuzz/wal.c
LINK = $(CC) $(STD) -I. $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@

all: bin/litestream bin/litestream-test

.SUFFIXES: .c .o
.c.o:
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

litestream.o $(OBJ) $(TEST_OBJ): $(HDR)

litestream: litestream.o $(OBJ)
	$(LINK) litestream.o $(OBJ) $(LDLIBS)

litestream-test: $(TEST_OBJ)
	$(LINK) $(TEST_OBJ) $(LDLIBS)

bin/litestream: litestream
	mkdir -p bin && ln -sf ../litestream $@

bin/litestream-test: litestream-test
	mkdir -p bin && ln -sf ../litestream-test $@

$(UNIT): $(OBJ) tests/tap.h
	mkdir -p tests/bin && $(LINK) tests/$(@F).c $(OBJ) $(LDLIBS)

tests/bin/unit-ltx: tests/unit-ltx.c
tests/bin/unit-capture: tests/unit-capture.c
tests/bin/unit-compact: tests/unit-compact.c
tests/bin/unit-config: tests/unit-config.c
tests/bin/unit-plan: tests/unit-plan.c
tests/bin/unit-restore: tests/unit-restore.c
tests/bin/unit-wal: tests/unit-wal.c

tests/bin/unit-retain: tests/unit-retain.c
tests/bin/unit-state: tests/unit-state.c

tests/bin/schedule: $(SCHEDULE) tests/schedule.h $(OBJ)
	mkdir -p tests/bin && $(LINK) $(SCHEDULE) $(OBJ) $(POINTS) $(LDLIBS)

# The fuzz targets without libFuzzer, for 54-fuzz.t.
tests/bin/fuzz/built: $(OBJ) tests/fuzz.sh $(FUZZ)
	CC='$(CC)' FLAGS='$(STD) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)' \
		LDLIBS='$(LDLIBS)' sh tests/fuzz.sh build tests/bin/fuzz

demo: all
	@sh tests/demo.sh

units: $(UNIT) tests/bin/schedule tests/bin/fuzz/built

check: all units
	@prove -f -o -j$(JOBS) -e sh tests

# The harnesses in their long form, and one that goes on for as long as wanted.
MINUTES = 30
torture: all units
	@sh tests/torture.sh $(MINUTES)

upstream: all
	@sh tests/upstream.sh

soak: all
	@python3 tests/torture.py soak -keep -seconds $$(($(MINUTES) * 60))

lint:
	@sh tests/lint.sh

# Lines and branches that the suite runs; about twice the time of check.
coverage:
	@JOBS=$(JOBS) MAKE="$(MAKE)" sh tests/coverage.sh

# Other compilers, machines and run-time checkers.
portable:
	@sh tests/portable.sh

# Mistakes made on purpose: the suite must notice each of them.
mutants:
	@JOBS=$(JOBS) sh tests/mutants.sh

# make bench ROWS="first restore"; BENCH_MB, BENCH_RUNS: see tests/bench.py
bench: all
	@python3 tests/bench.py $(ROWS)

# make fuzz SECONDS=n for each target, or RUNS=n
fuzz: all
	@FLAGS='$(STD) $(CPPFLAGS)' LDLIBS='$(LDLIBS)' sh tests/fuzz.sh run \
		'$(SECONDS)' '$(RUNS)'

# The real Litestream, for the interchange tests.
peer:
	@sh tests/peer.sh

install: all
	mkdir -p $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 \
		$(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(SYSTEMDDIR) \
		$(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	install -m 755 litestream litestream-test $(DESTDIR)$(BINDIR)
	install -m 644 man/litestream.1 man/litestream-test.1 \
		$(DESTDIR)$(MANDIR)/man1
	install -m 644 man/litestream.5 man/ltx.5 $(DESTDIR)$(MANDIR)/man5
	install -m 644 contrib/litestream.bash $(DESTDIR)$(BASHDIR)/litestream
	ln -sf litestream $(DESTDIR)$(BASHDIR)/litestream-test
	install -m 644 contrib/_litestream $(DESTDIR)$(ZSHDIR)
	install -m 644 contrib/litestream.fish $(DESTDIR)$(FISHDIR)
	ln -sf litestream.fish $(DESTDIR)$(FISHDIR)/litestream-test.fish
	for u in $(UNITS); do \
		install -m 644 contrib/$$u $(DESTDIR)$(SYSTEMDDIR) && \
		sed 's|/usr/bin/|$(BINDIR)/|' contrib/$$u \
			>$(DESTDIR)$(SYSTEMDDIR)/$$u || exit 1; \
	done

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/litestream $(DESTDIR)$(BINDIR)/litestream-test \
		$(DESTDIR)$(MANDIR)/man1/litestream.1 \
		$(DESTDIR)$(MANDIR)/man1/litestream-test.1 \
		$(DESTDIR)$(MANDIR)/man5/litestream.5 \
		$(DESTDIR)$(MANDIR)/man5/ltx.5 \
		$(DESTDIR)$(BASHDIR)/litestream \
		$(DESTDIR)$(BASHDIR)/litestream-test \
		$(DESTDIR)$(ZSHDIR)/_litestream \
		$(DESTDIR)$(FISHDIR)/litestream.fish \
		$(DESTDIR)$(FISHDIR)/litestream-test.fish
	for u in $(UNITS); do rm -f $(DESTDIR)$(SYSTEMDDIR)/$$u; done

# A Debian package, of this machine's release, in the directory DEB.
DEB = .
deb: all
	@MAKE="$(MAKE)" sh contrib/deb.sh $(DEB)

clean:
	rm -rf bin tests/bin
	rm -f litestream litestream-test *.o

.PHONY: all demo check units torture soak lint bench peer install deb \
	uninstall clean coverage portable fuzz mutants upstream
