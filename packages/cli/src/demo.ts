console.log('virtkit demo');
