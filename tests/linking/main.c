#include <stdint.h>
#include <stdio.h>

uint32_t allocators_linked(void);
uint32_t allocators_registered(void);

int main(void) {
    printf("%u %u\n", allocators_linked(), allocators_registered());
    return 0;
}
