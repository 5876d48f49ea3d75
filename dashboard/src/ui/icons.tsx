const PATHS = {
  check: 'M3.2 8.4l3.1 3.1 6.5-7',
  cross: 'M4 4l8 8M12 4l-8 8',
  bang: 'M8 3v6.2M8 12.2v.3',
  back: 'M6.2 3.2L3 6.4l3.2 3.2M3.4 6.4h5.8a3.3 3.3 0 010 6.6H6.6',
  bars: 'M5.6 3.6v8.8M10.4 3.6v8.8',
  question: 'M5.6 6a2.5 2.5 0 114 2c-1 .7-1.6 1.100-1.6 2.100M8 12.600v.2',
  dot: 'M8 7.900v.2',
  half: 'M8 2.600a5.400 5.400 0 100 10.800 5.400 5.400 0 000-10.800z',
  search: 'M7 2.600a4.400 4.400 0 100 8.800 4.400 4.400 0 000-8.800zM10.300 10.300l3.300 3.300',
  sun: 'M8 5.200a2.800 2.800 0 100 5.600 2.800 2.800 0 000-5.600zM8 1.400v1.300M8 13.300v1.300M1.400 8h1.300M13.300 8h1.300M3.300 3.300l.9.9M11.800 11.800l.9.9M3.300 12.700l.9-.9M11.800 4.200l.9-.9',
  moon: 'M13 9.600A5.600 5.600 0 116.400 3 4.500 4.500 0 0013 9.600z',
  auto: 'M8 2.400a5.600 5.600 0 100 11.200A5.600 5.600 0 008 2.400zM8 2.400v11.200',
  arrow: 'M3 8h9.500M9 4.500L12.500 8 9 11.500',
  more: 'M3.500 8h.01M8 8h.01M12.500 8h.01',
  out: 'M6.500 3H3.500v10h3M10 5l3 3-3 3M12.600 8H6.500',
} as const

export type IconName = keyof typeof PATHS

/** A drawn sign. It never stands alone: a word or a label says the same. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 16 16" width={size} height={size} aria-hidden="true" focusable="false">
      {name === 'half' && <path class="fill" d="M8 2.600a5.400 5.400 0 010 10.800z" />}
      <path d={PATHS[name]} />
    </svg>
  )
}

/** The hive. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false">
      <path class="hive" d="M12 2.500c4.600 0 7.600 3.500 8.300 8.300.5 3.200.7 6.200.7 9.700H3c0-3.500.2-6.500.7-9.700C4.400 6 7.400 2.500 12 2.500z" />
      <path class="weave" d="M5.600 7.700c4.200 1.300 8.600 1.300 12.800 0M3.800 11.900c5.300 1.600 11.100 1.600 16.400 0M3.200 16.200c5.700 1.700 11.900 1.700 17.600 0" />
      <path class="door" d="M9.600 20.500v-1.300a2.400 2.400 0 014.800 0v1.300z" />
    </svg>
  )
}
