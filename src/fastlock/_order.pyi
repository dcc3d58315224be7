from fastlock._order_facts import dump as dump
