// The page has few files, and their names stay: the server holds them, and tells browsers by their etag whether they changed.
export default {
    base: "./",
    build: {
        target: "es2022",
        outDir: "dist",
        emptyOutDir: true,
        modulePreload: false,
        rollupOptions: {
            input: { app: "index.html", worklet: "src/worklet.ts" },
            output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
        },
    },
    // `npm run dev` shows the page while it is written; its calls go to a server beside it.
    server: { proxy: { "/v1": { target: process.env.TIMBRE_URL ?? "http://127.0.0.1:8080", ws: true } } },
};
