import { expect, test } from 'vitest'
import { eventLine } from '../../dist/cli/events/lines.js'
import { keysOf, Screen } from '../../dist/cli/events/screen.js'
import { ClusterState } from '../../dist/events/cluster-state.js'

function scene(): { screen: Screen; state: ClusterState; text(): string; press(...keys: string[]): unknown } {
  const state = new ClusterState({ now: () => 0 })
  const base = { hostname: 'w@h', pid: 1, utcoffset: 0 }
  state.take({
    ...base,
    type: 'worker-heartbeat',
    clock: 1,
    timestamp: 1,
    freq: 2,
    active: 1,
    processed: 2,
    loadavg: [0.5],
    sw_ident: 'celeriac',
    sw_ver: '1',
  })
  state.take({ ...base, type: 'task-received', clock: 2, timestamp: 2, uuid: 'one', name: 'add', args: '(1, 2)' })
  state.take({
    ...base,
    type: 'task-failed',
    clock: 4,
    timestamp: 4,
    uuid: 'two',
    name: 'boom',
    exception: "TypeError('no way')",
    traceback: 'TypeError: no way\n    at x',
  })
  const screen = new Screen(state)
  return {
    screen,
    state,
    text: () => screen.lines({ columns: 80, rows: 20 }).join('\n'),
    press: (...keys) => keys.map((key) => screen.press(key)).at(-1),
  }
}

test('workers, and tasks with the latest first, fit the terminal', () => {
  const { screen, text } = scene()
  const lines = screen.lines({ columns: 60, rows: 12 })
  expect(lines).toHaveLength(12)
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(60)
  expect(text()).toMatch(/workers 1\/1.*received 1.*failure 1/)
  expect(text()).toMatch(/w@h +● online +1 +2 +0\.50 +celeriac 1/)
  expect(text()).toMatch(/> two +boom .*✗ FAILURE\n {2}one +add .*RECEIVED/)
  expect(screen.lines({ columns: 10, rows: 5 })).toHaveLength(5)
})

test('j and k move, i r and t open what is known of a task, any key closes it', () => {
  const { text, press } = scene()
  press('t')
  expect(text()).toContain('Traceback of two\n\nTypeError: no way\n    at x')
  press('q')
  press('r')
  expect(text()).toContain("TypeError('no way')")
  press('x', 'j')
  expect(text()).toMatch(/> one/)
  press('j', 'j', 'i')
  expect(text()).toMatch(/args +\(1, 2\)/)
  press('x', 'k', 'k')
  expect(text()).toMatch(/> two/)
})

test('a task is revoked only after a yes, and a rate limit is read from what is typed', () => {
  const { text, press } = scene()
  expect(press('c', '\r')).toBeUndefined()
  expect(press('c')).toBeUndefined()
  expect(text()).toContain('Revoke boom[two]? [y/N] _')
  expect(press('y', '\r')).toEqual({ do: 'revoke', uuid: 'two' })
  expect(press('l', ...'5/x', '\u007f', 'm', '\r')).toEqual({ do: 'rate limit', task: 'boom', rate: '5/m' })
  expect(press('l', '9', '\u001b')).toBeUndefined()
  expect(press('e')).toEqual({ do: 'enable events' })
  expect(press('q')).toEqual({ do: 'quit' })
  expect(press('c', '\u0003')).toEqual({ do: 'quit' })
})

test('keys that come together are taken one by one, arrows as one', () => {
  expect(keysOf('jk\u001b[Bq')).toEqual(['j', 'k', '\u001b[B', 'q'])
})

test('control characters of a task move no cursor', () => {
  const { state, screen } = scene()
  state.take({ type: 'task-received', hostname: 'w@h', pid: 1, utcoffset: 0, clock: 9, timestamp: 9, uuid: 'x', name: 'a\u001b[2Jb' })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
  expect(screen.lines({ columns: 80, rows: 20 }).join('')).not.toMatch(/[\u0000-\u001f]/)
})

test('nothing was heard yet', () => {
  const screen = new Screen(new ClusterState())
  expect(screen.lines({ columns: 100, rows: 10 }).join('\n')).toContain('no task was heard of')
  for (const key of ['j', 'k', 'i', 'r', 't', 'c', 'l']) expect(screen.press(key)).toBeUndefined()
})

test('an event on a line has what it says, without line breaks', () => {
  const base = { hostname: 'w@h', pid: 1, utcoffset: 0, clock: 1, timestamp: 0 }
  expect(eventLine({ ...base, type: 'worker-heartbeat', freq: 2 }, undefined)).toBe(
    'w@h [1970-01-01T00:00:00.000Z] heartbeat: clock=1, freq=2, pid=1, utcoffset=0',
  )
  expect(eventLine({ ...base, type: 'task-failed', uuid: 'a', traceback: 'x\ny' }, 'add')).toBe(
    'w@h [1970-01-01T00:00:00.000Z] task failed: add(a) clock=1, pid=1, traceback=x\\ny, utcoffset=0',
  )
})
