import { expect, test } from 'vitest'
import { fullRunRows, makePage, problems } from '../../scripts/reliability.mjs'

const line = (id: string, promise = 'it holds') => ({ id, driver: 'sqlite', promise, dupBound: 0 })

test('the page has each row once, in the order of the catalogue', () => {
  const page = makePage([line('P15'), line('P2'), line('M1'), line('P2')])
  expect([...page.matchAll(/^- \*\*([A-Z]\d+)\*\* /gm)].map(([, id]) => id)).toEqual(['M1', 'P2', 'P15'])
})

test('a row without a passing line is named, and a line without a row', () => {
  const page = makePage([line('P1'), line('P2')])
  expect(problems(page, [line('P2'), line('P1')])).toEqual([])
  expect(problems(page, [line('P2')])).toEqual([expect.stringContaining('no test has shown this: - **P1**')])
  expect(problems(page, [line('P1'), line('P2'), line('P3')])).toEqual([expect.stringContaining('not on the page: - **P3**')])
})

test('each kind of broker has its section, and what could not be shown has one with its reasons', () => {
  const page = makePage([
    { ...line('R5'), driver: 'redis, prefork' },
    line('P1'),
    { ...line('R18'), driver: 'redis', unseen: 'there is none here' },
    { ...line('B9'), driver: 'timers' },
  ])
  const rows = page.split('\n').filter((row) => /^(##|-) /.test(row))
  expect(rows).toEqual([
    '## The embedded broker',
    '- **P1** (sqlite) it holds.',
    '## Redis',
    '- **R5** (redis, prefork) it holds.',
    '## Without a broker',
    '- **B9** (timers) it holds.',
    '## Not seen',
    '- **R18** (redis) it holds. Why not: there is none here.',
  ])
})

test('a row that only the full run shows says so; another run neither asks for it nor takes it away', () => {
  const lines = [line('P1'), { ...line('P2'), depth: 'full' as const }]
  const page = makePage(lines)
  expect(page).toContain('- **P2** (sqlite) it holds. (full run)\n')
  expect(problems(page, [line('P1')])).toEqual([])
  expect(problems(page, [line('P1')], { full: true })).toEqual([expect.stringContaining('no test has shown this: - **P2**')])
  expect(problems(page, lines, { full: true })).toEqual([])
  // One that is not marked, and belongs to the full run, is wrong on every run.
  expect(problems(makePage([line('P1'), line('P2')]), lines, { full: true })).toHaveLength(2)
  expect(makePage([line('P1')], fullRunRows(page))).toBe(page)
})
