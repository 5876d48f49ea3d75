import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig, type Plugin } from 'vite'

/** Writes the compressed forms of each file beside it: the server sends them as they are. */
function compressed(): Plugin {
  let folder = ''
  return {
    name: 'compressed',
    apply: 'build',
    configResolved: (config) => void (folder = config.build.outDir),
    closeBundle() {
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name)
        if (!entry.isFile() || !/\.(html|js|css|svg)$/.test(path)) continue
        const text = readFileSync(path)
        writeFileSync(`${path}.gz`, gzipSync(text, { level: 9 }))
        writeFileSync(`${path}.br`, brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }))
      }
    },
  }
}

const server = process.env['SKEP_SERVER'] ?? 'http://127.0.0.1:7717'

export default defineConfig({
  plugins: [compressed()],
  build: {
    target: 'es2022',
    // What light-dark() needs; older ones would get each colour twice.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    // Two pages, each of one script and one sheet: they gain nothing from more requests.
    rolldownOptions: { input: { index: 'index.html', docs: 'docs.html' } },
    // Swagger UI comes as one file.
    chunkSizeWarningLimit: 2000,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    proxy: { '/graphql': { target: server, ws: true, changeOrigin: true, headers: { origin: server } } },
  },
})
