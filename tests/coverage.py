#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Coverage: what gcov counted in a tree that was built and tested.

    coverage.py [-lines] DIR

DIR holds the sources, and the .gcno and .gcda of coverage.sh.  Prints lines
and branches of each module and of all, and the lines that never ran and are
not in uncovered.txt.  -lines: those that are there, too.  Exit status 1 if
there is such a line, if one of uncovered.txt is not in the source or runs, or
if fewer than 95 in 100 lines ran.  Lines whose reason begins with "sometimes"
may run, too.
"""
import collections
import glob
import gzip
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
LEAST = 95.0
LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                    'uncovered.txt')


def counted(tree):
    """{(file, line): [function, count, [branch counts]]}"""
    found = {}
    for name in sorted(glob.glob(os.path.join(tree, '*.gcno'))):
        out = subprocess.run(['gcov', '-b', '-j', '-t', name], cwd=tree,
                             check=True, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL).stdout
        if out[:2] == b'\x1f\x8b':
            out = gzip.decompress(out)
        for f in json.loads(out)['files']:
            if f['file'].endswith('.c') and '/' not in f['file']:
                for x in f['lines']:
                    at = found.setdefault((f['file'], x['line_number']),
                                          [x.get('function_name'), 0, []])
                    at[1] += x['count']
                    at[2] += [b['count'] for b in x['branches']]
    return found


def listed():
    """{(file, function, text): reason}; blocks of "FILE FUNCTION: REASON"
    and, each after a tab, lines of code without their indentation."""
    out = {}
    head = None
    for line in open(LIST):
        if line.startswith('\t'):
            out[(*head, line.strip())] = reason
        elif line.strip() and line[0] != '#':
            head, reason = line.strip().split(': ', 1)
            head = head.split(' ')
    return out


def share(n, of):
    return f'{n:6}/{of:<6}{100 * n / of if of else 100:6.1f}'


def main():
    show = '-lines' in sys.argv
    tree = sys.argv[-1]
    found = counted(tree)
    sums = collections.defaultdict(lambda: [0, 0, 0, 0])
    for (name, _), (_, count, branches) in found.items():
        for who in (name, 'total'):
            s = sums[who]
            s[0] += count > 0
            s[1] += 1
            s[2] += sum(b > 0 for b in branches)
            s[3] += len(branches)
    print(f'{"module":20}{"lines":>10}{"%":>9}{"branches":>13}{"%":>6}')
    for name, s in sorted(sums.items(), key=lambda x: (x[0] == 'total', x)):
        print(f'{name:20}{share(*s[:2])}  {share(*s[2:])}')
    excused = listed()
    source = {name: open(os.path.join(tree, name)).read().split('\n')
              for name in sums if name != 'total'}
    bad, quiet, there, idle = [], 0, set(), set()
    for (name, n), (function, count, _) in sorted(found.items()):
        text = source[name][n - 1].strip()
        key = (name, function, text)
        there.add(key)
        if count > 0:
            continue
        idle.add(key)
        line = f'{name}:{n}: {function}: {text}'
        if key in excused:
            quiet += 1
            if show:
                print(f'{line}\n\t{excused[key]}')
        else:
            bad.append(line)
    gone = [' '.join(k) for k in excused if k not in there]
    runs = [' '.join(k) for k, why in excused.items() if k in there - idle and
            not why.startswith('sometimes')]
    print(f'{len(bad) + quiet} lines never ran, {quiet} of them for a reason '
          f'in tests/uncovered.txt, which names {len(excused)}')
    for what, lines in (('never ran', bad), ('no such line', gone),
                        ('listed, but ran', runs)):
        for x in lines:
            print(f'{what}: {x}')
    s = sums['total']
    few = 100 * s[0] < LEAST * s[1]
    if few:
        print(f'fewer than {LEAST} % of the lines ran')
    sys.exit(bool(bad or gone or runs or few))


if __name__ == '__main__':
    main()
