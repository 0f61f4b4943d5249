import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { claimPidFile, readPidFile } from '../../dist/cli/pid-file.js'

const module = new URL('../../dist/cli/pid-file.js', import.meta.url).href

/** Of a process that has ended. */
async function endedPid(): Promise<number> {
  const child = spawn('true')
  await once(child, 'exit')
  return child.pid ?? 0
}

test('a file that nobody holds is taken, and given back by who took it alone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-pid-'))
  try {
    const path = join(folder, 'deep/worker.pid')
    const release = claimPidFile(path)
    expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`)
    writeFileSync(path, '1\n')
    release()
    expect(existsSync(path)).toBe(true)
    // The first process of a machine is none of ours; nor is one that has ended; nor is what is no number.
    for (const left of ['1\n', `${await endedPid()}\n`, 'not a number', '']) {
      writeFileSync(path, left)
      expect(readPidFile(path)).toBeUndefined()
      claimPidFile(path)()
      expect(existsSync(path)).toBe(false)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('of processes that start at the same moment, over a file that was left, one has it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-pid-'))
  const path = join(folder, 'worker.pid')
  writeFileSync(path, `${await endedPid()}\n`)
  // They claim when they are told, and stay until they are told to end.
  writeFileSync(
    join(folder, 'claim.mjs'),
    `import { claimPidFile } from ${JSON.stringify(module)}
process.stdin.once('data', () => {
  try {
    claimPidFile(process.argv[3])
    console.log('has it')
  } catch (error) {
    console.log(error.code)
  }
  process.stdin.once('data', () => process.exit())
})
console.log('ready')
`,
  )
  const children = Array.from({ length: 5 }, () =>
    spawn(process.execPath, [join(folder, 'claim.mjs'), '--pidfile', path], { stdio: ['pipe', 'pipe', 'inherit'] }),
  )
  try {
    await Promise.all(children.map(({ stdout }) => once(stdout, 'data')))
    const said = children.map(async ({ stdout }) => String((await once(stdout, 'data'))[0]).trim())
    for (const { stdin } of children) stdin.write('claim\n')
    const answers = await Promise.all(said)
    expect([...answers].sort()).toEqual([...Array(4).fill('ERR_ALREADY_RUNNING'), 'has it'])
    expect(readPidFile(path)).toBe(children[answers.indexOf('has it')]?.pid)
    expect(readdirSync(folder).sort()).toEqual(['claim.mjs', 'worker.pid'])
  } finally {
    await Promise.all(
      children.map((child) => {
        child.stdin.write('end\n')
        return once(child, 'exit')
      }),
    )
    rmSync(folder, { recursive: true })
  }
}, 60_000)

test('a number that is that of another process by now stops nobody: an editor of the same project, or another worker', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-pid-'))
  const path = join(folder, 'w1.pid')
  const stay = join(folder, 'stay.mjs')
  writeFileSync(stay, "process.stdin.resume()\nconsole.log('ready')\n")
  const process_ = (...args: string[]) => spawn(process.execPath, [stay, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const others = [process_(), process_(`--pidfile=${join(folder, 'w2.pid')}`)]
  const own = [process_(`--pidfile=${path}`), process_('--pidfile', 'run/%n.pid')]
  try {
    await Promise.all([...others, ...own].map(({ stdout }) => once(stdout, 'data')))
    for (const { pid } of own) {
      writeFileSync(path, `${pid}\n`)
      expect(readPidFile(path)).toBe(pid)
      expect(() => claimPidFile(path)).toThrow(/runs/)
    }
    for (const { pid } of others) {
      writeFileSync(path, `${pid}\n`)
      expect(readPidFile(path)).toBeUndefined()
      claimPidFile(path)()
    }
  } finally {
    for (const child of [...others, ...own]) child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  }
}, 60_000)
