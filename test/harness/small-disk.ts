/** A disk that is soon full: a file system in memory, where this user may mount one. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export function mountSmallDisk(folder: string, size: string): void {
  mkdirSync(folder, { mode: 0o700 })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', folder])
}

export function unmountSmallDisk(folder: string): void {
  // Lazily: a process that ends just now may still have a file open.
  execFileSync('umount', ['-l', folder])
}

/** Undefined, or why no small file system can be had here. */
export function noSmallDisk(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
    execFileSync('umount', [folder])
    return undefined
  } catch {
    return 'this user may not mount a file system'
  } finally {
    rmdirSync(folder)
  }
}
