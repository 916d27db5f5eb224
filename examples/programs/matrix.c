/* Multiply two square matrices; the side is the argument. Tells joulelab its two phases. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void phase(const char *name, const char *edge) {
    const char *path = getenv("JOULELAB_EVENTS");
    FILE *events = path ? fopen(path, "a") : NULL;
    if (events == NULL) return;
    fprintf(events, "{\"t\": %.6f, \"phase\": \"%s\", \"edge\": \"%s\"}\n", now(), name, edge);
    fclose(events);
}

int main(int count, char **arguments) {
    int n = count > 1 ? atoi(arguments[1]) : 256;
    double *a = malloc(sizeof(double) * n * n), *b = malloc(sizeof(double) * n * n);
    double *c = calloc((size_t)n * n, sizeof(double));
    if (n < 1 || !a || !b || !c) return 1;

    phase("filling", "begin");
    for (int i = 0; i < n * n; i++) {
        a[i] = i % 7;
        b[i] = i % 5;
    }
    phase("filling", "end");

    phase("multiplying", "begin");
    double began = now();
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
    double took = now() - began;
    phase("multiplying", "end");

    double sum = 0;
    for (int i = 0; i < n * n; i++) sum += c[i];
    printf("{\"gflops\": %.4f, \"checksum\": %.0f}\n", 2e-9 * n * n * n / took, sum);
    return 0;
}
