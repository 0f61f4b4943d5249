/**
 * Keeps the promise that no child outlives its worker, even if the worker is killed with SIGKILL while the child spins in a loop or is stopped.
 *
 * One tiny shell process for the whole pool (1.6 MB; a watchdog thread is 9 MB a child) reads lines from a pipe that only the worker holds open:
 * each line is the list of process groups that live. When the pipe ends, the worker is gone, and the groups of the last line are killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

const shell = '/bin/sh'
const script = `trap '' HUP INT TERM QUIT; pids=; while read -r line; do pids=$line; done; for pid in $pids; do kill -KILL "-$pid"; done`

export class Reaper {
  #process: ChildProcess | undefined
  #pids: readonly number[] = []
  #stopped = false
  // A shell that cannot run is not started without end; the children still see by themselves that their worker is gone, once their event loop turns.
  #startsLeft = 10

  /** False on Windows, where child processes die with their parent by themselves, and in images without a shell. */
  static readonly available = process.platform !== 'win32' && existsSync(shell)

  /** Tells which process groups live now. */
  watch(pids: readonly number[]): void {
    if (this.#stopped || !Reaper.available) return
    this.#pids = pids
    if (this.#process === undefined && this.#startsLeft-- > 0) this.#process = this.#start()
    this.#process?.stdin?.write(`${pids.join(' ')}\n`)
  }

  stop(): void {
    this.#stopped = true
    // Its list first: what it would kill is gone by now, and the numbers may be others'.
    this.#process?.stdin?.end('\n')
  }

  #start(): ChildProcess {
    const reaper = spawn(shell, ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, env: {}, cwd: '/' })
    reaper.unref()
    reaper.stdin?.on('error', () => {}) // it died: 'exit' follows
    reaper.on('error', () => {})
    reaper.once('exit', () => {
      if (this.#process !== reaper) return
      this.#process = undefined
      if (!this.#stopped) this.watch(this.#pids)
    })
    return reaper
  }
}
