import type { Image } from '../api/documents'

export interface VersionLike {
  ref?: string | null
  revision: string | null
  images: readonly Image[]
}

/** The first letters of a commit. */
export function short(revision: string): string {
  return /^[0-9a-f]{12,}$/.test(revision) ? revision.slice(0, 8) : revision
}

/** What follows the last slash: the name and tag people know an image by. */
export function tail(image: string): string {
  const name = image.split('@')[0] ?? image
  return name.slice(name.lastIndexOf('/') + 1)
}

/** Services whose images differ between two versions. */
export function changedImages(a: VersionLike | null, b: VersionLike | null): string[] {
  if (!a || !b) return []
  const before = new Map(a.images.map((image) => [image.service, image.image]))
  const after = new Map(b.images.map((image) => [image.service, image.image]))
  const all = new Set([...before.keys(), ...after.keys()])
  return [...all].filter((service) => before.get(service) !== after.get(service)).sort()
}

/** A version in a few letters: its commit, or else the images that tell it from `other`. */
export function label(version: VersionLike | null, other: VersionLike | null = null): string | null {
  if (!version) return null
  if (version.revision) return short(version.revision)
  const differing = changedImages(version, other)
  const chosen = differing.length > 0 ? version.images.filter((it) => differing.includes(it.service)) : version.images
  const texts = [...new Set(chosen.map((image) => tail(image.image)))]
  if (texts.length === 0) return version.ref ?? null
  return texts.length > 1 ? `${texts[0]} +${texts.length - 1}` : texts[0]!
}

/** Whether two versions are, as far as the page can tell, one. */
export function same(a: VersionLike | null, b: VersionLike | null): boolean {
  return !!a && !!b && a.revision === b.revision && changedImages(a, b).length === 0
}
